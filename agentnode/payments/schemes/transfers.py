"""Transfers that payers made themselves: found on the chain, bound to their sender, journaled once, waited for."""

from __future__ import annotations

from collections.abc import Sequence

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.compliance import Compliance
from agentnode.payments.errors import PaymentRefused, TransferUnmined
from agentnode.payments.schemes.authorship import signed_any
from agentnode.payments.schemes.onchain import DirectTransfer, TransferClaim, claimed_id, senders
from agentnode.payments.settling.ends import Ends
from agentnode.payments.settling.journal import Carriage, Journal, Plan
from agentnode.payments.settling.proof import Proof, mined
from agentnode.payments.tables import Settlement
from ledger.clock import SECOND_US, Clock
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
    ) -> None:
        self._journal, self._ends, self._chain, self._proof = journal, ends, chain, proof
        self._compliance, self._clock = compliance, clock
        self._dids, self._depth = dids, depth

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
            if await self._signed(payer, claim, asked):
                where = (asked.asset.network, asked.asset.address.lower(), payer, asked.pay_to.lower())
                return DirectTransfer(*where, amount_atomic, mined(receipt), mined_at_s)
        raise PaymentRefused(
            "INVALID_SIGNATURE", "the signature is not the sender's of this transaction over this claim"
        )

    async def journaled(self, payment_id: str, sent: DirectTransfer) -> Settlement:
        """The transfer in the journal, for this payment and no other ever.

        Raises PaymentRefused DUPLICATE_NONCE, QuoteExpired, ComplianceBlocked, ComplianceUnchecked.
        """
        version = await self._compliance.check(sent.payer, sent.payee)
        carriage = Carriage(compliance_version=version)
        entry = await self._journal.plan(Plan(payment_id, sent, "", sent.mined.block_number, carriage))
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

    async def _signed(self, payer: str, claim: TransferClaim, asked: PaymentRequirement) -> bool:
        chain_id = chain_id_of(asked.asset.network)
        digests = (claim.digest(claimed_id(asked), chain_id, did) for did in self._dids)
        return await signed_any(self._chain, payer, digests, claim.signature)
