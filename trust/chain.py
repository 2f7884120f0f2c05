"""A read-only view of one EVM chain over JSON-RPC: what it cannot find out it raises, and never answers "no" to."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from ledger.errors import InvalidInput
from trust.chain_records import (
    AUTHORIZATION_CANCELED,
    AUTHORIZATION_USED,
    TRANSFER,
    AuthorizationEnd,
    Log,
    TxReceipt,
    authorization_end,
    read_data,
    read_hash,
    read_logs,
    read_quantity,
    read_receipt,
)
from trust.errors import CallReverted, ChainMismatch, ChainUnavailable

_BALANCE_OF = bytes.fromhex("70a08231")
_AUTHORIZATION_STATE = bytes.fromhex("e94a0102")
_DECIMALS = bytes.fromhex("313ce567")
_IS_VALID_SIGNATURE = bytes.fromhex("1626ba7e")
"""The selector, and the word that a contract answers where the signature is good (EIP-1271)."""

_Read = TypeVar("_Read")
SIGNATURE_GAS = 500_000
LONGEST_SIGNATURE = 4_096
_REVERTED = 3
# Where it is no plain revert, nodes tell a contract's failure from their own by words only (geth, Nethermind, py-evm).
_CONTRACT_FAILED = re.compile(
    r"revert|vm execution error|out ?of ?gas|invalid ?(opcode|instruction|jump)|stack ?(underflow|overflow|depth)"
    r"|(insufficient|full) ?stack|write ?protection|out ?of ?bounds|call depth",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Head:
    number: int
    timestamp_s: int


@dataclass(frozen=True)
class DryRun:
    """What a call would come to: the head before it was tried, the code at `payer`, and the gas it takes."""

    to: str
    data: bytes
    payer: str
    head: int
    code: bytes
    gas: int | CallReverted


class ChainView:
    """One chain at the operator's RPC URL. Every method raises ChainUnavailable (503) where the chain does not answer.

    Addresses may be of any case, and come out in lower; nonces and hashes are 0x and 64 hex digits.
    """

    def __init__(self, rpc_url: str, chain_id: int, *, timeout_s: float = 5.0) -> None:
        self.chain_id = chain_id
        self._timeout_s = timeout_s
        self._url = rpc_url
        self._ids = itertools.count(1)
        # Kept alive for less than servers do, so that no call is sent into a connection that is just being closed.
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False, limits=httpx.Limits(keepalive_expiry=2.0))

    async def check_chain_id(self) -> None:
        """Raises ChainMismatch where another chain answers than the one configured."""
        seen = _parsed(read_quantity, await self._ask("eth_chainId"))
        if seen != self.chain_id:
            raise ChainMismatch(f"chain {seen} answers, {self.chain_id} is configured; set another RPC URL or network")

    async def head(self) -> Head:
        """The latest block."""
        return _parsed(
            lambda block: Head(read_quantity(block["number"]), read_quantity(block["timestamp"])),
            await self._ask("eth_getBlockByNumber", "latest", False),
        )

    async def balance(self, token: str, address: str) -> int:
        """Atomic units of an ERC-20 token. Raises CallReverted where there is no such token."""
        return await self._word(token, _BALANCE_OF + _address_word(address))

    async def authorization_used(self, token: str, authorizer: str, nonce: str) -> bool:
        """Whether an EIP-3009 nonce is gone: used or cancelled (`authorization_end` tells which).

        Raises CallReverted where the token knows no authorisations: that is not "unused".
        """
        return await self._word(token, _AUTHORIZATION_STATE + _address_word(authorizer) + _word32("nonce", nonce)) != 0

    async def authorization_end(
        self, token: str, authorizer: str, nonce: str, from_block: int
    ) -> AuthorizationEnd | None:
        """How and in which transaction a nonce ended, looked for from a block on; None where no log says so."""
        wanted = {
            "address": token,
            "fromBlock": hex(from_block),
            "toBlock": "latest",
            "topics": [
                [AUTHORIZATION_USED, AUTHORIZATION_CANCELED],
                "0x" + _address_word(authorizer).hex(),
                "0x" + _word32("nonce", nonce).hex(),
            ],
        }
        answer = await self._ask("eth_getLogs", wanted)
        ends = _parsed(lambda logs: [authorization_end(log) for log in read_logs(logs)], answer)
        return next((end for end in ends if end is not None), None)

    async def authorization_transaction(self, token: str, authorizer: str, nonce: str, from_block: int) -> str | None:
        """The transaction that moved an authorisation's money, whoever sent it; None also where it was cancelled."""
        end = await self.authorization_end(token, authorizer, nonce, from_block)
        return end.tx_hash if end is not None and end.outcome == "used" else None

    async def receipt(self, tx_hash: str) -> TxReceipt | None:
        """The receipt of a mined transaction; None while it waits, and where it is unknown."""
        answer = await self._ask("eth_getTransactionReceipt", tx_hash)
        if answer is None or (isinstance(answer, dict) and answer.get("blockNumber") is None):
            return None
        return _parsed(read_receipt, answer)

    async def transfers_to(self, token: str, payee: str, from_block: int, to_block: int) -> list[Log]:
        """The logs of a token's ERC-20 transfers to an address in these blocks, both included, in order."""
        wanted = {
            "address": token,
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
            "topics": [TRANSFER, None, "0x" + _address_word(payee).hex()],
        }
        return _parsed(lambda logs: list(read_logs(logs)), await self._ask("eth_getLogs", wanted))

    async def transaction(self, tx_hash: str) -> dict[str, Any] | None:
        """The transaction as the chain tells it (JSON-RPC's members); None where it is unknown."""
        answer = await self._ask("eth_getTransactionByHash", tx_hash)
        return None if answer is None else _parsed(dict, answer)

    async def block_hash(self, number: int) -> str | None:
        """The hash of the canonical block of that number; where a receipt has another, it was reorganised away."""
        answer = await self._ask("eth_getBlockByNumber", hex(number), False)
        return None if answer is None else _parsed(lambda block: read_hash(block["hash"]), answer)

    async def block_time_s(self, number: int) -> int:
        """When a block was made, Unix seconds. Raises ChainUnavailable where there is none of that number."""
        answer = await self._ask("eth_getBlockByNumber", hex(number), False)
        return _parsed(lambda block: read_quantity(block["timestamp"]), answer)

    async def decimals(self, token: str) -> int:
        """Raises CallReverted where there is no such token."""
        return await self._word(token, _DECIMALS)

    async def call(self, to: str, data: bytes, gas: int | None = None) -> bytes:
        """What a contract answers at the latest block. Raises CallReverted where it refuses or its gas ends."""
        request = {"to": to, "data": "0x" + data.hex()} | ({"gas": hex(gas)} if gas is not None else {})
        return _parsed(read_data, await self._ask("eth_call", request, "latest"))

    async def dry_run(self, sender: str, to: str, data: bytes, payer: str) -> DryRun:
        """A transaction tried without sending it, in one exchange; where a contract refuses, its words are the gas."""
        request = {"from": sender, "to": to, "data": "0x" + data.hex()}
        head, code, gas = await self._ask_all(
            ("eth_blockNumber", []), ("eth_getCode", [payer, "latest"]), ("eth_estimateGas", [request])
        )
        return DryRun(
            to,
            data,
            payer,
            _parsed(read_quantity, _certain(head)),
            _parsed(read_data, _certain(code)),
            gas if isinstance(gas, CallReverted) else _parsed(read_quantity, _certain(gas)),
        )

    async def is_valid_signature(self, address: str, digest: bytes, signature: bytes) -> bool:
        """Whether a contract wallet takes the signature now (EIP-1271), within SIGNATURE_GAS and the view's time-out.

        A stranger's code answers, so a revert, all gas spent and any other answer are "no"; a chain that is silent is
        ChainUnavailable. The answer holds for this block only: ask again at use.
        """
        if len(signature) > LONGEST_SIGNATURE:
            return False
        padding = bytes(-len(signature) % 32)
        head = _IS_VALID_SIGNATURE + digest + (64).to_bytes(32) + len(signature).to_bytes(32)
        try:
            answer = await self.call(address, head + signature + padding, SIGNATURE_GAS)
        except CallReverted:
            return False
        return answer[:32] == _IS_VALID_SIGNATURE.ljust(32, b"\0")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _word(self, contract: str, data: bytes) -> int:
        answer = await self.call(contract, data)
        if len(answer) != 32:
            raise CallReverted(f"{contract} has no contract with this function; check the token's address")
        return int.from_bytes(answer)

    async def _ask(self, method: str, *params: Any) -> Any:
        [answer] = await self._ask_all((method, list(params)))
        return _certain(answer)

    async def _ask_all(self, *asked: tuple[str, list[Any]]) -> list[Any]:
        """Results in the order asked, in one exchange; a refusal is the error to be raised, and is not raised here."""
        requests: list[dict[str, Any]] = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params} for method, params in asked
        ]
        methods = ", ".join(method for method, _ in asked)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.post(self._url, json=requests if len(requests) > 1 else requests[0])
            answer = response.json()
        # The URL may carry the operator's key to the RPC, so neither it nor httpx's words are passed on.
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as problem:
            raise ChainUnavailable(f"the chain's RPC does not answer {methods} ({type(problem).__name__})") from None
        except ValueError:
            raise ChainUnavailable(f"the chain's RPC answers {methods} with status {response.status_code}") from None
        told = answer if isinstance(answer, list) else [answer]
        by_id = {str(one.get("id")): one for one in told if isinstance(one, dict)}
        refused = answer if isinstance(answer, dict) and "error" in answer else None  # of the batch as a whole
        return [_result(request["method"], by_id.get(str(request["id"]), refused)) for request in requests]


def _result(method: str, answer: Any) -> Any:
    if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
        return _refused(method, answer["error"])
    if not isinstance(answer, dict) or "result" not in answer:
        return ChainUnavailable(f"the chain's RPC answers {method} with what is no JSON-RPC")
    return answer["result"]


def _certain(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _refused(method: str, error: dict[str, Any]) -> CallReverted | ChainUnavailable:
    message = str(error.get("message", ""))[:200]
    if method in ("eth_call", "eth_estimateGas") and (
        error.get("code") == _REVERTED or _CONTRACT_FAILED.search(message)
    ):
        return CallReverted(message)
    return ChainUnavailable(f"the chain's RPC refuses {method}: {message} ({error.get('code')})")


def _parsed(read: Callable[[Any], _Read], answer: Any) -> _Read:
    try:
        return read(answer)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ChainUnavailable("the chain's RPC answers in a form that is not JSON-RPC's") from None


def _address_word(address: str) -> bytes:
    try:
        raw = read_data(address)
    except ValueError:
        raw = b""
    if len(raw) != 20:
        raise InvalidInput("address", "must be 0x and forty hex digits")
    return raw.rjust(32, b"\0")


def _word32(param: str, value: str) -> bytes:
    try:
        return bytes.fromhex(read_hash(value)[2:])
    except ValueError:
        raise InvalidInput(param, "must be 0x and 64 hex digits") from None
