"""Which block a client means, and the answers that are read from blocks."""

from __future__ import annotations

from typing import Any

from eth.abc import StateAPI

from . import params as read
from .chain import DevelopmentChain
from .envelope import REFUSED, RpcError
from .shapes import Json, header_shape

# Each block is final when it is made: there is no one to disagree.
HEAD_TAGS = ("latest", "pending", "safe", "finalized")
MOST_BLOCK_NUMBER = 2**63 - 1


def block_number(chain: DevelopmentChain, reference: Any) -> int:
    """The number that a tag or a quantity means; it may lie above the head."""
    if reference in HEAD_TAGS:
        return chain.head.block_number
    if reference == "earliest":
        return 0
    return read.quantity(reference, "block", MOST_BLOCK_NUMBER)


def state_at(chain: DevelopmentChain, reference: Any) -> StateAPI:
    """The world after the block meant by a tag, a quantity, or an EIP-1898 object."""
    if reference in HEAD_TAGS:
        return chain.state_now()
    if isinstance(reference, dict):
        if reference.get("blockHash") is not None:
            block = block_by_hash(chain, read.data(reference["blockHash"], "blockHash", 32))
            if block is None:
                raise RpcError(REFUSED, "header not found")
            return chain.state_after(int(block["number"], 16))
        reference = reference.get("blockNumber")
    number = block_number(chain, reference)
    if number > chain.head.block_number:
        raise RpcError(REFUSED, "header not found")
    return chain.state_after(number)


def block_by_hash(chain: DevelopmentChain, block_hash: bytes) -> Json | None:
    return chain.records.block_by_hash(block_hash)


def block_by_reference(chain: DevelopmentChain, reference: Any) -> Json | None:
    """The block, or None where there is none; `pending` is the one to come, empty."""
    if reference == "pending":
        return {**header_shape(chain.pending()), "size": "0x0", "transactions": []}
    return chain.records.block_by_number(block_number(chain, reference))


def with_transactions(chain: DevelopmentChain, block: Json | None, whole: bool) -> Json | None:
    if block is None or not whole:
        return block
    return {**block, "transactions": chain.records.transactions_of(int(block["number"], 16))}
