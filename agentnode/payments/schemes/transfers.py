"""Transfers that payers made themselves: found on the chain, bound to their sender, journaled once, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.compliance import Compliance
from agentnode.payments.errors import PaymentRefused, TransferNotBelieved, TransferUnmined
from agentnode.payments.schemes.authorship import signed_by
from agentnode.payments.schemes.onchain import DirectTransfer, TransferClaim, claimed_id, senders
from agentnode.payments.settling.ends import Ends
from agentnode.payments.settling.journal import Carriage, Journal, Plan
from agentnode.payments.settling.proof import Proof, mined
from agentnode.payments.settling.witness import Witness
from agentnode.payments.tables import Settlement
from ledger.clock import SECOND_US, Clock, seconds
from trust.chain import ChainView
from trust.networks import chain_id_of

_GIVEN_UP_AFTER_US = 600 * SECOND_US


class Transfers:
    """`dids` are the node's, the present one first; `depth` is how many blocks make a transfer count, its own too."""

    def __init__(
        self,
        journal: Journal,
        ends: Ends,
        chain: ChainView,
        proof: Proof,
        compliance: Compliance,
        clock: Clock,
        dids: Sequence[str],
        depth: int,
        witness: Witness,
    ) -> None:
        self._journal, self._ends, self._chain, self._proof = journal, ends, chain, proof
        self._compliance, self._clock = compliance, clock
        self._dids, self._depth, self._witness = dids, depth, witness

    async def claimed(self, claim: TransferClaim, asked: PaymentRequirement) -> DirectTransfer:
        """What the transaction moved to us, of the sender that signed the claim.

        Raises TransferUnmined, AssetMismatch, TransferMissing, PaymentRefused INVALID_SIGNATURE where somebody else's
        transaction is claimed, ChainMismatch, ChainUnavailable.
        """
        await self._chain.check_chain_id()
        receipt = await self._chain.receipt(claim.tx_hash)
        if receipt is None:
            raise TransferUnmined(claim.tx_hash)
        mined_at_s = await self._chain.block_time_s(receipt.block_number)
        for payer, amount_atomic in senders(receipt, asked).items():
            signed = await self._signed(payer, claim, asked)
            if signed is not None:
                where = (asked.asset.network, asked.asset.address.lower(), payer, asked.pay_to.lower())
                return DirectTransfer(*where, amount_atomic, mined(receipt), mined_at_s, signed)
        raise PaymentRefused(
            "INVALID_SIGNATURE", "the signature is not the sender's of this transaction over this claim"
        )

    async def journaled(self, payment_id: str, sent: DirectTransfer) -> Settlement:
        """The transfer in the journal, for this payment and no other ever.

        Raises PaymentRefused DUPLICATE_NONCE, QuoteExpired, TransferNotBelieved, ComplianceBlocked,
        ComplianceUnchecked.
        """
        await self._check_remembered(sent)
        version = await self._compliance.check(sent.payer, sent.payee)
        carriage = Carriage(handed={"claim": dict(sent.claim)}, compliance_version=version)
        entry = await self._journal.plan(Plan(payment_id, sent, "", sent.mined.block_number, carriage))
        # Before it buys anything: a copy of the database that does not know of it is seen to be older.
        await asyncio.to_thread(self._witness.write, await self._ends.beat(sent.network))
        return await self.looked(entry)

    async def looked(self, entry: Settlement) -> Settlement:
        """The entry as it stands now that the chain was asked: who claimed it may have died before."""
        await self.look(entry)
        return await self._journal.get(entry.id) or entry

    async def look(self, entry: Settlement) -> None:
        """Whether it is deep enough by now. One whose transaction the chain has lost waits for it ten minutes."""
        found = await self._proof.transfer(entry)
        if found is None:
            if self._clock.now_us() - entry.created_at_us > _GIVEN_UP_AFTER_US:
                await self._ends.failed(entry, "its block was undone, and the transaction did not come again")
        elif (await self._chain.head()).number - found.block_number + 1 >= self._depth:
            await self._ends.confirmed(entry, found)

    async def _check_remembered(self, sent: DirectTransfer) -> None:
        """The chain shows what it moved, and not what it has bought."""
        older_at_us = await self._journal.older_at_us(sent.network)
        known = await self._journal.of_authorization(sent) is not None
        if older_at_us is not None and not known and sent.mined_at_s < seconds(older_at_us):
            raise TransferNotBelieved(sent.nonce)

    async def _signed(self, payer: str, claim: TransferClaim, asked: PaymentRequirement) -> dict[str, str] | None:
        """What the payer has signed; a claim in the name of a key that was rotated meanwhile is as good."""
        name, chain_id = claimed_id(asked), chain_id_of(asked.asset.network)
        for did in self._dids:
            if await signed_by(self._chain, payer, claim.digest(name, chain_id, did), claim.signature):
                return {"payment_id": name, "authority": did, "signature": claim.signature}
        return None
