"""The writing side of a chain: account nonce, gas, fees, and raw transactions, over JSON-RPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from trust.errors import ChainUnavailable

_TIMEOUT_S = 10.0
_GAS_MARGIN_PERCENT = 130
_REVERTED = 3


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
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        self._rpc_url = rpc_url

    async def close(self) -> None:
        await self._client.aclose()

    async def next_account_nonce(self, sender: str) -> int:
        return int(await self._call("eth_getTransactionCount", sender, "pending"), 16)

    async def mined_count(self, sender: str) -> int:
        """How many transactions of `sender` are mined: every lower account nonce is taken for good."""
        return int(await self._call("eth_getTransactionCount", sender, "latest"), 16)

    async def gas(self, sender: str, to: str, data: str) -> int:
        estimate = int(await self._call("eth_estimateGas", {"from": sender, "to": to, "data": data}), 16)
        return estimate * _GAS_MARGIN_PERCENT // 100

    async def fees(self) -> Fees:
        head = await self._call("eth_getBlockByNumber", "latest", False)
        priority = int(await self._call("eth_maxPriorityFeePerGas"), 16)
        return Fees(2 * int(head.get("baseFeePerGas", "0x0"), 16) + priority, priority)

    async def send(self, raw_tx: str) -> None:
        await self._call("eth_sendRawTransaction", raw_tx)

    async def _call(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        try:
            answer = (await self._client.post(self._rpc_url, json=request)).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise ChainUnavailable(f"{method} got no answer; is the chain at AGENTNODE_RPC_URL up?") from error
        if "error" in answer:
            raise RpcRefused(method, answer["error"])
        return answer.get("result")
