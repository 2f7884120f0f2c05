"""Whether the chain shows the transfer under an authorisation, whoever broadcast it, and whether it can still come."""

from __future__ import annotations

from agentnode.payments.settling.journal import Mined
from agentnode.payments.tables import Settlement
from ledger.clock import Clock, seconds
from trust.chain import ChainView
from trust.chain_records import TxReceipt, direct_transfers


class Unclear(Exception):
    """The chain contradicts itself for the moment; the entry is asked about again, the others go on."""


class Proof:
    """Raises ChainUnavailable where the chain is silent: that is not "unpaid".

    `wall_clock` says that the chain makes blocks only when a transaction comes, so that the age of its head says
    nothing and its next block has the wall's time.
    """

    def __init__(self, chain: ChainView, clock: Clock, wall_clock: bool) -> None:
        self._chain = chain
        self._clock = clock
        self._wall_clock = wall_clock

    async def transfer(self, entry: Settlement) -> Mined | None:
        """The transfer; None where there is none so far, or where the payer took the authorisation back.

        Raises Unclear while the chain says that the nonce is gone, and not yet how.
        """
        if entry.scheme == "onchain":
            receipt = await self._chain.receipt(entry.nonce)
            return mined(receipt) if receipt is not None and pays(receipt, entry) else None
        if not await self._chain.authorization_used(entry.asset, entry.payer, entry.nonce):
            return None
        end = await self._chain.authorization_end(entry.asset, entry.payer, entry.nonce, entry.planned_block)
        if end is not None and end.outcome == "canceled":
            return None
        receipt = await self._chain.receipt(end.tx_hash) if end is not None else None
        if receipt is None:
            raise Unclear(f"the authorisation of {entry.id} is used, and no log of its transfer is found")
        return mined(receipt) if pays(receipt, entry) else None

    async def closed(self, entry: Settlement) -> bool:
        """Whether no block can execute the authorisation any more: its window is past, or its nonce gone.

        By the time of the blocks: after an outage a chain goes on where it stood, with times that are past. A transfer
        that its sender made may always be mined again.
        """
        if entry.scheme == "onchain":
            return False
        if await self._chain.authorization_used(entry.asset, entry.payer, entry.nonce):
            return True
        now_s = seconds(self._clock.now_us()) if self._wall_clock else (await self._chain.head()).timestamp_s
        return now_s >= entry.valid_before_s

    async def still_stands(self, entry: Settlement) -> bool:
        """Whether the block in which it was confirmed is still the chain's."""
        assert entry.block_number is not None
        return await self._chain.block_hash(entry.block_number) == entry.block_hash


def pays(receipt: TxReceipt, entry: Settlement) -> bool:
    """Whether this authorisation, or its sender itself, moved the amount to the payee in the transaction."""
    if entry.scheme == "onchain":
        sent = direct_transfers(receipt, entry.asset, entry.payee).get(entry.payer)
        return receipt.tx_hash == entry.nonce and sent == int(entry.amount_atomic)
    made = receipt.authorized(entry.asset, entry.payer, entry.nonce)
    return made is not None and (made.payee, made.amount_atomic) == (entry.payee, int(entry.amount_atomic))


def mined(receipt: TxReceipt) -> Mined:
    return Mined(receipt.tx_hash, receipt.block_number, receipt.block_hash)
