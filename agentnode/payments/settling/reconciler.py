"""Asks the chain about what has ended, until nothing can change it; and at start about what this database forgot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from agentnode.payments.schemes.transfers import Transfers
from agentnode.payments.settling.broadcaster import Broadcaster, RpcRefused
from agentnode.payments.settling.ends import UNKNOWN_PURCHASE, Ends
from agentnode.payments.settling.journal import Journal, Mined
from agentnode.payments.settling.proof import Proof, Unclear, mined
from agentnode.payments.settling.witness import Witness
from agentnode.payments.tables import Settlement
from ledger.clock import SECOND_US, Clock, seconds
from ledger.errors import Unavailable
from ledger.ids import new_id
from ledger.money import Asset
from ledger.work import Claims
from trust.chain import MOST_BLOCKS_OF_LOGS, ChainView
from trust.chain_records import TxReceipt, authorizations
from trust.networks import network_of

_log = logging.getLogger(__name__)

_LEASE_S = 60.0
_LEAST_LOOK_US, _MOST_LOOK_US = 5 * SECOND_US, 3_600 * SECOND_US
_WATCHED_FOR_US = 7 * 24 * 3_600 * SECOND_US
"""A failed authorisation may have no end: after a week it is watched no more, and found when it is sent again."""
_SEARCH_EVERY_US = 60 * SECOND_US


class Reconciler:
    def __init__(
        self,
        journal: Journal,
        ends: Ends,
        transfers: Transfers,
        proofs: Mapping[str, Proof],
        broadcaster: Broadcaster,
        chain: ChainView,
        claims: Claims,
        clock: Clock,
        asset: Asset,
        payee: str,
        sender: str,
        buyers_come_s: int,
        witness: Witness,
        receipt_left: Callable[[Settlement], Awaitable[None]],
    ) -> None:
        """`receipt_left` makes the receipt of a confirmed payment, where nobody has asked for it."""
        self._journal = journal
        self._ends = ends
        self._transfers = transfers
        self._proofs = proofs
        self._broadcaster = broadcaster
        self._chain = chain
        self._claims = claims
        self._clock = clock
        self._asset = asset
        self._payee = payee.lower()
        self._sender = sender.lower()
        self._buyers_come_s = buyers_come_s
        self._witness = witness
        self._receipt_left = receipt_left
        self._searched_at_us = 0

    async def start(self) -> None:
        """Before paid work is served: what was paid to this node and is not in its journal. Raises ChainUnavailable.

        A database that was restored from an older copy has forgotten payments. The chain has not; and what the chain
        does not know, such as spent receipts and claimed transfers, is not believed from then on
        (`Entries.older_at_us`).
        """
        network = self._asset.network
        # Before the mark, which another process may move on meanwhile.
        kept = await asyncio.to_thread(self._witness.last)
        mark = await self._journal.mark(network)
        if mark is not None and kept > mark.beat:
            _log.warning("the database is older than its data folder: receipts and transfers are not believed")
            await self._ends.searched(network, mark.searched_block, older=True, kept=kept)
        await self._search()

    async def tick(self) -> None:
        """One round over all that is due, in one process."""
        claim = await self._claims.claim("reconciler", self._asset.network, _LEASE_S)
        if claim is None:
            return
        try:
            for entry in await self._journal.open(self._asset.network, "onchain"):
                await self._deepened(entry)
            for entry in await self._journal.watched():
                await self._looked(entry)
            if self._clock.now_us() - self._searched_at_us > _SEARCH_EVERY_US:
                await self._search(seconds(self._clock.now_us()) - self._buyers_come_s)
        finally:
            await self._claims.release(claim)

    async def _deepened(self, entry: Settlement) -> None:
        try:
            await self._transfers.look(entry)
        except Unavailable as silence:
            _log.warning("transfer %s waits: %s", entry.id, silence)

    async def _looked(self, entry: Settlement) -> None:
        try:
            await self._look(entry)
        except (Unavailable, Unclear, RpcRefused) as silence:
            _log.warning("settlement %s stays as it is: %s", entry.id, silence)
            await self._ends.looked(entry, self._clock.now_us() + _LEAST_LOOK_US)

    async def _look(self, entry: Settlement) -> None:
        proof = self._proofs.get(entry.network)
        if proof is None:
            raise Unclear(f"{entry.network} is not among the chains of this node any more")
        if entry.point == "confirmed" and await proof.still_stands(entry):
            await self._receipt_left(entry)
            final_after_us = network_of(entry.network).final_after_s * SECOND_US
            return await self._ends.looked(entry, self._next_look_us(entry, final_after_us))
        found = await proof.transfer(entry)
        if found is not None:
            await self._ends.confirmed(entry, found)
        elif entry.point == "confirmed":
            _log.warning("settlement %s was confirmed and its block is undone: its receipt is void", entry.id)
            await self._ends.reorged(entry)
        elif await proof.closed(entry):
            await self._end(entry)
        else:
            if entry.point == "reorged" and not entry.failure:
                await self._send_again(entry)
            await self._ends.looked(entry, self._next_look_us(entry, _WATCHED_FOR_US))
        return None

    async def _end(self, entry: Settlement) -> None:
        if entry.point == "failed":
            await self._ends.abandoned(entry)
        else:
            await self._ends.looked(entry, None)

    def _next_look_us(self, entry: Settlement, until_us: int) -> int | None:
        """In as long again as it has stood so; None once that is `until_us`."""
        age_us = self._clock.now_us() - entry.updated_at_us
        return None if age_us >= until_us else self._clock.now_us() + min(max(age_us, _LEAST_LOOK_US), _MOST_LOOK_US)

    async def _send_again(self, entry: Settlement) -> None:
        """The same bytes, under the account nonce that the reorganisation has freed.

        Where another transaction has that nonce by now, or none was ever ours, it is planned anew. Of what somebody
        else had sent before it came here the call is not known: nothing of ours can pay it.
        """
        if entry.account_nonce is None or await self._broadcaster.mined_count(entry.sender) > entry.account_nonce:
            if entry.call_data:
                await self._journal.plan_again(entry)
            return
        for attempt in await self._journal.attempts(entry):
            try:
                await self._broadcaster.send(attempt.raw_tx)
            except RpcRefused as refused:
                _log.info("settlement %s is not taken again: %s", entry.id, refused)

    async def _search(self, until_s: int | None = None) -> None:
        """From where the last search ended: payments to this node whose authorisation the journal does not know.

        Of those that were mined after `until_s` the buyer may still come with the payload (`overtaken`): they wait.
        """
        network = self._asset.network
        head = (await self._chain.head()).number
        mark = await self._journal.mark(network)
        newest = await self._journal.newest_block(network) if mark is None else None
        first = mark.searched_block + 1 if mark is not None else (head if newest is None else newest) + 1
        beat = 0
        while first <= head:
            last = min(first + MOST_BLOCKS_OF_LOGS - 1, head)
            logs = await self._chain.transfers_to(self._asset.address, self._payee, first, last)
            hashes = list(dict.fromkeys(log.tx_hash for log in logs))
            older = False
            for tx_hash in hashes:
                unknown = await self._unknown(tx_hash)
                if unknown and until_s is not None and await self._mined_s(unknown[0]) > until_s:
                    head = last = unknown[0].planned_block - 1
                    break
                older = await self._forgotten(tx_hash, unknown) or older
            beat = await self._ends.searched(network, last, older)
            first = last + 1
        if mark is None or not beat:
            beat = await self._ends.searched(network, head)
        await asyncio.to_thread(self._witness.write, beat)
        self._searched_at_us = self._clock.now_us()

    async def _mined_s(self, entry: Settlement) -> int:
        return await self._chain.block_time_s(entry.planned_block)

    async def _unknown(self, tx_hash: str) -> list[Settlement]:
        receipt = await self._chain.receipt(tx_hash)
        return [entry for entry in self._paid_in(receipt) if not await self._known(entry)] if receipt else []

    async def _forgotten(self, tx_hash: str, unknown: list[Settlement]) -> bool:
        """Journals what a transaction paid here and the journal does not know; true where we had sent it ourselves."""
        for entry in unknown:
            _log.warning("%s paid %s in %s: %s", entry.payer, entry.amount_atomic, tx_hash, UNKNOWN_PURCHASE)
            await self._ends.unclaimed(entry)
        sent = await self._chain.transaction(tx_hash) if unknown else None
        return sent is not None and str(sent.get("from", "")).lower() == self._sender

    async def _known(self, entry: Settlement) -> bool:
        return await self._journal.knows(entry.network, entry.asset, entry.payer, entry.nonce)

    def _paid_in(self, receipt: TxReceipt) -> list[Settlement]:
        token, found = self._asset.address.lower(), []
        for end in authorizations(receipt, token):
            made = receipt.authorized(token, end.authorizer, end.nonce)
            if made is not None and made.payee == self._payee:
                found.append(self._unclaimed(end.authorizer, end.nonce, made.amount_atomic, mined(receipt)))
        return found

    def _unclaimed(self, payer: str, nonce: str, amount_atomic: int, found: Mined) -> Settlement:
        now = self._clock.now_us()
        values = self._journal.moved(found) | {"failure": UNKNOWN_PURCHASE}
        return Settlement(
            id=new_id("stl"),
            seq=now,
            network=self._asset.network,
            asset=self._asset.address.lower(),
            payer=payer,
            payee=self._payee,
            nonce=nonce,
            amount_atomic=str(amount_atomic),
            valid_before_s=0,
            call_data="",
            planned_block=found.block_number,
            created_at_us=now,
            updated_at_us=now,
            **values,
        )
