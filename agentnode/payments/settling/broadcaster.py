"""The writing side of a chain: account nonce, gas, fees, and raw transactions, over JSON-RPC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from trust.chain_records import TxReceipt, read_receipt
from trust.errors import ChainUnavailable
from trust.tls import authorities

_TIMEOUT_S = 10.0
_REVERTED = 3
_MOST_IN_A_BATCH = 50
"""Public nodes refuse larger ones."""


class RpcRefused(Exception):
    """The node answered, and its answer is an error: what was sent did not happen."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        self.message = str(error.get("message", error))[:300]
        self.reverted = error.get("code") == _REVERTED or "revert" in self.message.lower()
        super().__init__(f"{method}: {self.message}")


@dataclass(frozen=True)
class Fees:
    max_fee_per_gas: int
    max_priority_fee_per_gas: int

    def bumped(self) -> Fees:
        """A replacement must pay at least a tenth more, or nodes keep the first."""
        return Fees(self.max_fee_per_gas * 5 // 4 + 1, self.max_priority_fee_per_gas * 5 // 4 + 1)

    def at_least(self, other: Fees) -> Fees:
        return Fees(
            max(self.max_fee_per_gas, other.max_fee_per_gas),
            max(self.max_priority_fee_per_gas, other.max_priority_fee_per_gas),
        )


class Broadcaster:
    """Raises RpcRefused where the chain's node says no, and ChainUnavailable where it is not known what it says."""

    def __init__(self, rpc_url: str) -> None:
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, verify=authorities())
        self._rpc_url = rpc_url

    async def close(self) -> None:
        await self._client.aclose()

    async def mined_count(self, sender: str) -> int:
        """How many transactions of `sender` are mined: every lower account nonce is taken for good."""
        return int(await self._call("eth_getTransactionCount", sender, "latest"), 16)

    async def terms(self, sender: str) -> tuple[int, Fees]:
        """The account's next nonce, with what waits in the node counted, and what a transaction pays now."""
        asked: tuple[tuple[str, list[Any]], ...] = (
            ("eth_getTransactionCount", [sender, "pending"]),
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_maxPriorityFeePerGas", []),
        )
        nonce, head, tip = [_certain(answer) for answer in await self._calls(asked)]
        priority = int(tip, 16)
        return int(nonce, 16), Fees(2 * int(head.get("baseFeePerGas", "0x0"), 16) + priority, priority)

    async def gas(self, sender: str, calls: Sequence[tuple[str, str]]) -> list[int | RpcRefused]:
        """What each `(to, data)` needs, or the chain's refusal."""
        asked = [("eth_estimateGas", [{"from": sender, "to": to, "data": data}]) for to, data in calls]
        return [answer if isinstance(answer, RpcRefused) else int(answer, 16) for answer in await self._calls(asked)]

    async def receipts(self, tx_hashes: Sequence[str]) -> list[TxReceipt | None]:
        """Of each transaction: its receipt, or None while it is not mined."""
        answers = await self._calls([("eth_getTransactionReceipt", [tx_hash]) for tx_hash in tx_hashes])
        try:
            return [read_receipt(told) if _certain(told) and told.get("blockNumber") else None for told in answers]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ChainUnavailable("the chain's RPC answers with what is no receipt") from None

    async def send(self, raw_tx: str) -> None:
        await self._call("eth_sendRawTransaction", raw_tx)

    async def _call(self, method: str, *params: Any) -> Any:
        return _certain((await self._calls([(method, list(params))]))[0])

    async def _calls(self, asked: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Results or refusals, in the order asked: one HTTP exchange for up to fifty."""
        answers: list[Any] = []
        for start in range(0, len(asked), _MOST_IN_A_BATCH):
            answers += await self._exchange(asked[start : start + _MOST_IN_A_BATCH])
        return answers

    async def _exchange(self, asked: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        requests: list[dict[str, Any]] = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(asked, 1)
        ]
        method = asked[0][0]
        try:
            sent = requests[0] if len(requests) == 1 else requests
            answer = (await self._client.post(self._rpc_url, json=sent)).raise_for_status().json()
            by_id = {one["id"]: one for one in ([answer] if len(requests) == 1 else answer)}
            return [
                RpcRefused(request["method"], one["error"]) if one.get("error") else one.get("result")
                for request in requests
                for one in [by_id[request["id"]]]
            ]
        # The URL may carry the operator's key to the RPC, so httpx's words are not passed on.
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
            raise ChainUnavailable(f"{method} got no answer; is the chain at AGENTNODE_RPC_URL up?") from None


def _certain(answer: Any) -> Any:
    if isinstance(answer, RpcRefused):
        raise answer
    return answer
