"""A read-only view of one EVM chain over JSON-RPC: what it cannot find out it raises, and never answers "no" to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
from trust.errors import CallReverted, ChainMismatch
from trust.json_rpc import JsonRpc, certain, parsed

_BALANCE_OF = bytes.fromhex("70a08231")
_AUTHORIZATION_STATE = bytes.fromhex("e94a0102")
_DECIMALS = bytes.fromhex("313ce567")
_IS_VALID_SIGNATURE = bytes.fromhex("1626ba7e")
"""The selector, and the word that a contract answers where the signature is good (EIP-1271)."""

SIGNATURE_GAS = 500_000
LONGEST_SIGNATURE = 4_096
MOST_BLOCKS_OF_LOGS = 2_000
"""Public nodes refuse longer ranges; on Base it is over an hour."""


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
        self._rpc = JsonRpc(rpc_url, timeout_s)

    @property
    def network(self) -> str:
        """In CAIP-2, `eip155:8453`."""
        return f"eip155:{self.chain_id}"

    async def check_chain_id(self) -> None:
        """Raises ChainMismatch where another chain answers than the one configured."""
        seen = parsed(read_quantity, await self._rpc.ask("eth_chainId"))
        if seen != self.chain_id:
            raise ChainMismatch(f"chain {seen} answers, {self.chain_id} is configured; set another RPC URL or network")

    async def head(self) -> Head:
        """The latest block."""
        return parsed(
            lambda block: Head(read_quantity(block["number"]), read_quantity(block["timestamp"])),
            await self._rpc.ask("eth_getBlockByNumber", "latest", False),
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
        answer = await self._rpc.ask("eth_getLogs", wanted)
        ends = parsed(lambda logs: [authorization_end(log) for log in read_logs(logs)], answer)
        return next((end for end in ends if end is not None), None)

    async def authorization_transaction(self, token: str, authorizer: str, nonce: str, from_block: int) -> str | None:
        """The transaction that moved an authorisation's money, whoever sent it; None also where it was cancelled."""
        end = await self.authorization_end(token, authorizer, nonce, from_block)
        return end.tx_hash if end is not None and end.outcome == "used" else None

    async def receipt(self, tx_hash: str) -> TxReceipt | None:
        """The receipt of a mined transaction; None while it waits, and where it is unknown."""
        answer = await self._rpc.ask("eth_getTransactionReceipt", tx_hash)
        if answer is None or (isinstance(answer, dict) and answer.get("blockNumber") is None):
            return None
        return parsed(read_receipt, answer)

    async def transfers_to(self, token: str, payee: str, from_block: int, to_block: int) -> list[Log]:
        """The logs of a token's ERC-20 transfers to an address in these blocks, both included, in order."""
        wanted = {
            "address": token,
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
            "topics": [TRANSFER, None, "0x" + _address_word(payee).hex()],
        }
        return parsed(lambda logs: list(read_logs(logs)), await self._rpc.ask("eth_getLogs", wanted))

    async def transaction(self, tx_hash: str) -> dict[str, Any] | None:
        """The transaction as the chain tells it (JSON-RPC's members); None where it is unknown."""
        answer = await self._rpc.ask("eth_getTransactionByHash", tx_hash)
        return None if answer is None else parsed(dict, answer)

    async def block_hash(self, number: int) -> str | None:
        """The hash of the canonical block of that number; where a receipt has another, it was reorganised away."""
        answer = await self._rpc.ask("eth_getBlockByNumber", hex(number), False)
        return None if answer is None else parsed(lambda block: read_hash(block["hash"]), answer)

    async def block_time_s(self, number: int) -> int:
        """When a block was made, Unix seconds. Raises ChainUnavailable where there is none of that number."""
        answer = await self._rpc.ask("eth_getBlockByNumber", hex(number), False)
        return parsed(lambda block: read_quantity(block["timestamp"]), answer)

    async def decimals(self, token: str) -> int:
        """Raises CallReverted where there is no such token."""
        return await self._word(token, _DECIMALS)

    async def call(self, to: str, data: bytes, gas: int | None = None) -> bytes:
        """What a contract answers at the latest block. Raises CallReverted where it refuses or its gas ends."""
        request = {"to": to, "data": "0x" + data.hex()} | ({"gas": hex(gas)} if gas is not None else {})
        return parsed(read_data, await self._rpc.ask("eth_call", request, "latest"))

    async def dry_run(self, sender: str, to: str, data: bytes, payer: str) -> DryRun:
        """A transaction tried without sending it, in one exchange; where a contract refuses, its words are the gas."""
        request = {"from": sender, "to": to, "data": "0x" + data.hex()}
        head, code, gas = await self._rpc.ask_all(
            ("eth_blockNumber", []), ("eth_getCode", [payer, "latest"]), ("eth_estimateGas", [request])
        )
        return DryRun(
            to,
            data,
            payer,
            parsed(read_quantity, certain(head)),
            parsed(read_data, certain(code)),
            gas if isinstance(gas, CallReverted) else parsed(read_quantity, certain(gas)),
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
        await self._rpc.aclose()

    async def _word(self, contract: str, data: bytes) -> int:
        answer = await self.call(contract, data)
        if len(answer) != 32:
            raise CallReverted(f"{contract} has no contract with this function; check the token's address")
        return int.from_bytes(answer)


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
