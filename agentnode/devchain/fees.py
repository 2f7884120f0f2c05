"""What gas costs: derived from the blocks, as wallets ask for it."""

from __future__ import annotations

from typing import Any

from . import params as read
from .chain import DevelopmentChain
from .reading import block_number
from .shapes import Json, quantity

# Blocks are never full here, so any tip will do; wallets expect one above zero.
TIP_WEI = 1_000_000_000
MOST_BLOCKS = 1_024


def gas_price(chain: DevelopmentChain) -> int:
    return (chain.pending().base_fee_per_gas or 0) + TIP_WEI


def fee_history(chain: DevelopmentChain, count: int, newest: Any, percentiles: list[Any]) -> Json:
    """eth_feeHistory: oldest first, one base fee more than blocks (the next block's), a row of tips a block."""
    if not 1 <= count <= MOST_BLOCKS:
        raise read.invalid("blockCount", f"is not between 1 and {MOST_BLOCKS}")
    head = chain.head.block_number
    last = min(block_number(chain, newest), head)
    blocks = chain.records.blocks_between(max(last - count + 1, 0), last)
    following = chain.records.block_by_number(last + 1)
    next_fee = following["baseFeePerGas"] if following else quantity(chain.pending().base_fee_per_gas or 0)
    history: Json = {
        "oldestBlock": blocks[0]["number"],
        "baseFeePerGas": [*(block["baseFeePerGas"] for block in blocks), next_fee],
        "gasUsedRatio": [int(block["gasUsed"], 16) / int(block["gasLimit"], 16) for block in blocks],
        "baseFeePerBlobGas": ["0x1"] * (len(blocks) + 1),
        "blobGasUsedRatio": [0] * len(blocks),
    }
    if percentiles:
        # Every transaction gets in, whatever it tips: the same answer for each percentile.
        history["reward"] = [[quantity(TIP_WEI)] * len(percentiles) for _ in blocks]
    return history
