"""What a chain's receipts and logs say, read without a chain: transfers and EIP-3009 authorisations in a receipt.

Addresses and hashes come out in lower case; what goes in may be of any. ValueError for what is not of JSON-RPC's form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
AUTHORIZATION_USED = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
AUTHORIZATION_CANCELED = "0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81"

_QUANTITY = re.compile(r"0x[0-9a-f]{1,64}", re.ASCII | re.IGNORECASE)
_DATA = re.compile(r"0x([0-9a-f]{2})*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Log:
    address: str
    topics: tuple[str, ...]
    data: bytes
    index: int
    tx_hash: str
    block_number: int


@dataclass(frozen=True)
class TxReceipt:
    """A mined transaction's outcome; `status` is 1 where it succeeded, 0 where it was reverted (and left no logs)."""

    tx_hash: str
    status: int
    block_number: int
    block_hash: str
    logs: tuple[Log, ...]
    _rpc: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def succeeded(self) -> bool:
        return self.status == 1

    def transfers(self) -> list[Transfer]:
        """The ERC-20 transfers of every token, in order; none where the transaction was reverted."""
        found = (transfer_in(log) for log in self.logs) if self.succeeded else ()
        return [transfer for transfer in found if transfer is not None]

    def moved(self, token: str, sender: str, payee: str, amount_atomic: int) -> bool:
        """Whether it has exactly this transfer; addresses in lower case."""
        wanted = (token, sender, payee, amount_atomic)
        return wanted in [(t.token, t.sender, t.payee, t.amount_atomic) for t in self.transfers()]

    def authorized(self, token: str, authorizer: str, nonce: str) -> Transfer | None:
        """The transfer that an EIP-3009 authorisation made here: the token's first after the log of the nonce's use.

        Another transfer of the same amount in the same transaction belongs to another authorisation.
        """
        logs = [log for log in self.logs if log.address == token.lower()] if self.succeeded else []
        for position, log in enumerate(logs):
            end = authorization_end(log)
            if end is not None and (end.outcome, end.authorizer, end.nonce) == ("used", authorizer, nonce):
                return next((found for found in map(transfer_in, logs[position + 1 :]) if found is not None), None)
        return None

    def as_rpc(self) -> dict[str, Any]:
        """The receipt as the chain told it (JSON-RPC's members), as evidence keeps it."""
        return dict(self._rpc)


@dataclass(frozen=True)
class Transfer:
    token: str
    sender: str
    payee: str
    amount_atomic: int
    log_index: int


@dataclass(frozen=True)
class AuthorizationEnd:
    """How an EIP-3009 authorisation ended: its money moved, or its signer took it back."""

    outcome: Literal["used", "canceled"]
    authorizer: str
    nonce: str
    tx_hash: str
    block_number: int
    log_index: int


def read_receipt(answer: Mapping[str, Any]) -> TxReceipt:
    return TxReceipt(
        tx_hash=read_hash(answer["transactionHash"]),
        status=read_quantity(answer["status"]),
        block_number=read_quantity(answer["blockNumber"]),
        block_hash=read_hash(answer["blockHash"]),
        logs=read_logs(answer["logs"]),
        _rpc=answer,
    )


def read_logs(answer: Any) -> tuple[Log, ...]:
    return tuple(read_log(log) for log in _list(answer))


def read_log(answer: Mapping[str, Any]) -> Log:
    return Log(
        address=read_address(answer["address"]),
        topics=tuple(read_hash(topic) for topic in _list(answer["topics"])),
        data=read_data(answer["data"]),
        index=read_quantity(answer["logIndex"]),
        tx_hash=read_hash(answer["transactionHash"]),
        block_number=read_quantity(answer["blockNumber"]),
    )


def transfers(receipt: TxReceipt, token: str) -> list[Transfer]:
    """The ERC-20 transfers of one token, in order; none where the transaction was reverted."""
    return [transfer for transfer in receipt.transfers() if transfer.token == token.lower()]


def direct_transfers(receipt: TxReceipt, token: str, payee: str) -> Mapping[str, int]:
    """By sender, what it moved to the payee: not under an authorisation (EIP-3009), which pays for something else."""
    authorized = set()
    for end in authorizations(receipt, token):
        made = receipt.authorized(token, end.authorizer, end.nonce)
        if end.outcome == "used" and made is not None:
            authorized.add(made.log_index)
    sent: dict[str, int] = {}
    for each in transfers(receipt, token):
        if each.payee == payee.lower() and each.log_index not in authorized and each.amount_atomic:
            sent[each.sender] = sent.get(each.sender, 0) + each.amount_atomic
    return sent


def transfer_in(log: Log) -> Transfer | None:
    """The ERC-20 transfer that a log tells of; None where it is of something else."""
    # Four topics are an ERC-721's transfer of the same name, which has an id where an amount is looked for.
    if len(log.topics) != 3 or log.topics[0] != TRANSFER or len(log.data) != 32:
        return None
    sender, payee = (_indexed_address(topic) for topic in log.topics[1:])
    return Transfer(log.address, sender, payee, int.from_bytes(log.data), log.index)


def authorizations(receipt: TxReceipt, token: str) -> list[AuthorizationEnd]:
    """The EIP-3009 authorisations of that token that the transaction used or cancelled, in order."""
    logs = (log for log in receipt.logs if log.address == token.lower()) if receipt.succeeded else ()
    return [end for end in map(authorization_end, logs) if end is not None]


def authorization_end(log: Log) -> AuthorizationEnd | None:
    """What a log says of an authorisation; None where it is of something else."""
    if len(log.topics) != 3 or log.topics[0] not in (AUTHORIZATION_USED, AUTHORIZATION_CANCELED):
        return None
    outcome: Literal["used", "canceled"] = "used" if log.topics[0] == AUTHORIZATION_USED else "canceled"
    authorizer = _indexed_address(log.topics[1])
    return AuthorizationEnd(outcome, authorizer, log.topics[2], log.tx_hash, log.block_number, log.index)


def read_quantity(value: Any) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ValueError("not a quantity")
    return int(value, 16)


def read_data(value: Any) -> bytes:
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise ValueError("not data")
    return bytes.fromhex(value[2:])


def read_hash(value: Any) -> str:
    """32 bytes as lower-case 0x hex, so that hashes compare as text."""
    raw = read_data(value)
    if len(raw) != 32:
        raise ValueError("not 32 bytes")
    return "0x" + raw.hex()


def read_address(value: Any) -> str:
    raw = read_data(value)
    if len(raw) != 20:
        raise ValueError("not an address")
    return "0x" + raw.hex()


def _list(value: Any) -> list[Any]:
    # An empty object would be read as a list without members: "none" where nothing was told.
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value


def _indexed_address(topic: str) -> str:
    return "0x" + topic[-40:]
