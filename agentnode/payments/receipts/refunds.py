"""What a receipt has left goes back to its payer, once, and the receipt is burned; so does what bought nothing, whole.

The wallet that payments go to signs an authorisation (EIP-3009) whose nonce is made of the payment's own on the chain,
so the chain itself takes one a payment, whatever this database remembers. It is journaled with the burning, in one
transaction, and the queue brings it to its end as any settlement.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sqlmodel import col, select

from agentnode.payments.compliance import Compliance
from agentnode.payments.errors import (
    NothingToRefund,
    PaymentUnknown,
    ReceiptInUse,
    RefundTooLate,
    RefundUnfunded,
    SettlementPending,
)
from agentnode.payments.networks import Assets
from agentnode.payments.receipts.book import ReceiptBook, unsigned_receipt
from agentnode.payments.receipts.receipt import Receipt
from agentnode.payments.schemes.authorship import authorization_digest, signed_any
from agentnode.payments.schemes.exact import transfer_call
from agentnode.payments.schemes.payload import Authorization
from agentnode.payments.schemes.receipt import check_network
from agentnode.payments.settling.journal import Carriage, Journal, Plan
from agentnode.payments.tables import Refund, Settlement
from ledger.accounts import OPERATOR, move, receipt_budget, withdraw
from ledger.clock import Clock, rfc3339
from ledger.database import AsyncSession, Database
from ledger.errors import Conflict
from ledger.money import usd_fields
from ledger.movements import tenant_account
from ledger.spend import BudgetRow
from trust.chain import ChainView
from trust.errors import SignatureInvalid
from trust.signatures import eip712

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_NEVER_CLOSES_S = 2**62
_STATES = {"confirmed": "paid", "abandoned": "unclear"}
AskedBy = Literal["payer", "operator"]


@dataclass(frozen=True)
class Refunded:
    """A refund and the settlement that pays it."""

    row: Refund
    entry: Settlement

    @property
    def paid(self) -> bool:
        return self.entry.point == "confirmed"

    def shown(self) -> dict[str, Any]:
        return {
            "object": "refund",
            "id": self.row.id,
            "receipt_id": None if self.row.receipt_id == self.row.payment_id else self.row.receipt_id,
            "payment_id": self.row.payment_id,
            "status": _STATES.get(self.entry.point, "pending"),
            "payee": self.entry.payee,
            "network": self.entry.network,
            "asset": self.entry.asset,
            "amount": self.entry.amount_atomic,
            **usd_fields("amount_usd", self.row.amount_usd_nanos),
            "transaction": self.entry.tx_hash if self.paid else None,
            "asked_by": self.row.asked_by,
            "created_at": rfc3339(self.row.created_at_us),
        }


class Refunds:
    """The first of `assets` is what is paid back in, `payer_account` opens the wallet that pays (it takes a second)."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        journal: Journal,
        book: ReceiptBook,
        chain: ChainView,
        compliance: Compliance,
        assets: Assets,
        payer_account: Callable[[], LocalAccount],
        dids: Sequence[str],
        depth: int,
        settle_timeout_s: float,
    ) -> None:
        self._database, self._clock, self._journal, self._book = database, clock, journal, book
        self._chain, self._compliance, self._payer_account = chain, compliance, payer_account
        self._assets, self._asset = assets, assets[0]
        self._dids, self._depth, self._settle_timeout_s = dids, depth, settle_timeout_s

    async def ask(self, payment_id: str, signature: str) -> Refunded:
        """As its payer, within the receipt's window. The same again: the same refund, and how far it has come.

        Raises PaymentUnknown, SignatureInvalid, RefundTooLate, NothingToRefund, ReceiptInUse, RefundUnfunded,
        ReceiptNotBelieved, SettlementPending where the payment is not final, ComplianceBlocked, Unavailable.
        """
        receipt = await self._receipt(payment_id)
        if not await self._signed(receipt, signature):
            raise SignatureInvalid("the signature is not this receipt's payer's over ReceiptRefund(receiptId)")
        return await self._asked(receipt)

    async def ask_as(self, payment_id: str, payer: str) -> Refunded:
        """As `ask`, by a wallet that has signed in."""
        receipt = await self._receipt(payment_id)
        if receipt.payer != payer:
            raise SignatureInvalid(f"{payer} has signed in, and is not who paid {payment_id}")
        return await self._asked(receipt)

    async def _asked(self, receipt: Receipt) -> Refunded:
        given = await self.of_receipt(receipt.id)
        if given is None and self._clock.now_us() > receipt.refundable_until_us:
            raise RefundTooLate(rfc3339(receipt.refundable_until_us))
        if given is None:
            await self._book.check_remembered(receipt)
        return await self._given(receipt, "payer")

    async def give(self, payment_id: str) -> Refunded:
        """As the operator, whenever; of a payment that bought nothing, by its settlement's id, all. Raises as `ask`."""
        entry = await self._journal.get(payment_id)
        if entry is not None and not entry.payment_id:
            return await self._given(_unbought(entry), "operator")
        return await self._given(await self._receipt(entry.payment_id if entry else payment_id), "operator")

    async def of_receipt(self, receipt_id: str) -> Refunded | None:
        return await self._found(Refund.receipt_id == receipt_id)

    async def of_payment(self, payment_id: str) -> Refunded | None:
        return await self._found(Refund.payment_id == payment_id)

    async def go_on(self) -> None:
        """What was granted is owed until it is paid: one that failed, such as for lack of money, is tried again."""
        asked = select(Settlement).join(Refund, col(Refund.settlement_id) == col(Settlement.id))
        async with self._database.read() as session:
            unpaid = col(Settlement.point).in_(("failed", "reorged"))
            failed = (await session.exec(asked.where(unpaid, Settlement.failure != ""))).all()
        for entry in failed:
            await self._journal.plan_again(entry)

    async def _found(self, which: Any) -> Refunded | None:
        asked = select(Refund, Settlement).join(Settlement, col(Settlement.id) == col(Refund.settlement_id))
        async with self._database.read() as session:
            row = (await session.exec(asked.where(which))).first()
        return Refunded(*row) if row is not None else None

    async def _receipt(self, payment_id: str) -> Receipt:
        receipt = await self._book.of_payment(payment_id)
        if receipt is None:
            raise PaymentUnknown(f"there is no payment {payment_id} that was received")
        check_network(receipt, self._asset.network)
        return receipt

    async def _given(self, receipt: Receipt, asked_by: AskedBy) -> Refunded:
        """Granted, here or before, and waited for."""
        granted = await self.of_receipt(receipt.id)
        if granted is None:
            try:
                await self._grant(receipt, asked_by)
            except Conflict:
                if await self.of_receipt(receipt.id) is None:
                    raise  # else another has granted it at the same moment
            granted = await self.of_receipt(receipt.id)
            assert granted is not None, "it was written with the entry"
        entry = await self._journal.ended(granted.entry, self._settle_timeout_s)
        return Refunded(granted.row, entry or granted.entry)

    async def _grant(self, receipt: Receipt, asked_by: AskedBy) -> None:
        head = await self._chain.head()
        if receipt.void or head.number - receipt.block_number + 1 < self._depth:
            raise SettlementPending(receipt.payment_id)
        pays = await asyncio.to_thread(self._payer_account)
        left_usd_nanos, amount_atomic = await self._left(receipt, pays.address.lower())
        version = await self._compliance.check(pays.address.lower(), receipt.payer)
        paid = await self._journal.get(receipt.id) or await self._journal.of_payment(receipt.payment_id)
        assert paid is not None, "what is received stands in the journal"
        offered = self._authorization(paid, pays, amount_atomic)
        planned_block = head.number
        if await self._chain.authorization_used(offered.asset, offered.payer, offered.nonce):
            planned_block = receipt.block_number  # an older database was restored: the chain has paid it back already
        elif await self._chain.balance(offered.asset, offered.payer) < amount_atomic:
            if await self.of_receipt(receipt.id) is None:  # else another gave it at the same moment, and it is paid
                raise RefundUnfunded
            return
        row = Refund(
            id=f"rfnd_{offered.nonce[2:34]}",
            receipt_id=receipt.id,
            payment_id=receipt.payment_id,
            settlement_id="",
            amount_usd_nanos=self._asset.nanos_from_atomic(amount_atomic),
            asked_by=asked_by,
            created_at_us=self._clock.now_us(),
        )

        async def burn(session: AsyncSession, entry: Settlement) -> None:
            row.settlement_id = entry.id
            session.add(row)
            await session.flush()
            await self._burn(session, receipt, left_usd_nanos, row.amount_usd_nanos)

        carriage = Carriage(compliance_version=version)
        plan = Plan(row.id, offered, "0x" + transfer_call(offered).hex(), planned_block, carriage)
        await self._journal.plan(plan, also=burn)

    async def _left(self, receipt: Receipt, payee: str) -> tuple[int, int]:
        """In nanos, and in whole atomic units: what is less than one of them stays with the operator."""
        left = self._worth(receipt, payee) if _is_unbought(receipt) else await self._in_purse(receipt)
        atomic = self._asset.atomic_from_nanos(left)
        atomic -= self._asset.nanos_from_atomic(atomic) > left
        if not atomic:
            raise NothingToRefund(receipt.id)
        return left, atomic

    def _worth(self, receipt: Receipt, payee: str) -> int:
        """Of what bought nothing: only what this wallet has received."""
        asset = self._assets.at(receipt.network, receipt.asset)
        if asset is None or receipt.payee != payee:
            raise PaymentUnknown(f"{receipt.id} is no payment to this node's wallet in a token that it takes")
        return asset.nanos_from_atomic(receipt.amount_atomic)

    async def _in_purse(self, receipt: Receipt) -> int:
        async with self._database.read() as session:
            purse = await session.get(BudgetRow, receipt_budget(receipt.id).id)
        if purse is not None and purse.held_usd_nanos:
            raise ReceiptInUse(receipt.id)
        return purse.limit_usd_nanos - purse.spent_usd_nanos if purse is not None else 0

    async def _burn(self, session: AsyncSession, receipt: Receipt, left_usd_nanos: int, back_usd_nanos: int) -> None:
        purse_id, now_us, wallet = receipt_budget(receipt.id).id, self._clock.now_us(), f"wallet:{receipt.payer}"
        if _is_unbought(receipt):  # it was booked by no receipt
            move(session, OPERATOR, "settlement", wallet, tenant_account(OPERATOR), back_usd_nanos, now_us)
            move(session, OPERATOR, "refund", tenant_account(OPERATOR), wallet, back_usd_nanos, now_us)
            return
        locked = {"key_share": True}
        purse = await session.get(BudgetRow, purse_id, with_for_update=locked, populate_existing=True)
        left = (left_usd_nanos, 0)
        if purse is None or (purse.limit_usd_nanos - purse.spent_usd_nanos, purse.held_usd_nanos) != left:
            raise Conflict("the receipt was used at the same moment; ask again")
        await withdraw(session, purse_id, left_usd_nanos)
        move(session, OPERATOR, "refund", purse_id, wallet, back_usd_nanos, now_us)
        if left_usd_nanos > back_usd_nanos:
            rest = left_usd_nanos - back_usd_nanos
            move(session, OPERATOR, "refund", purse_id, tenant_account(OPERATOR), rest, now_us)

    def _authorization(self, paid: Settlement, pays: LocalAccount, amount_atomic: int) -> Authorization:
        from eth_typing import Hash32

        name = "\n".join((paid.network, paid.asset, paid.payer, paid.nonce))
        unsigned = Authorization(
            network=self._asset.network,
            asset=self._asset.address.lower(),
            payer=pays.address.lower(),
            payee=paid.payer,
            amount_atomic=amount_atomic,
            valid_after_s=0,
            valid_before_s=_NEVER_CLOSES_S,
            nonce="0x" + hashlib.sha256(b"agentnode refund\n" + name.encode()).hexdigest(),
            signature="",
        )
        signed = pays.unsafe_sign_hash(Hash32(authorization_digest(unsigned, self._asset)))
        return Authorization(**{**vars(unsigned), "signature": signed.signature.to_0x_hex()})

    async def _signed(self, receipt: Receipt, signature: str) -> bool:
        chain_id = self._chain.chain_id
        digests = (eip712.digest(eip712.refund_typed_data(receipt.id, chain_id, did)) for did in self._dids)
        return await signed_any(self._chain, receipt.payer, digests, signature)


def _unbought(entry: Settlement) -> Receipt:
    """Stands for the receipt of a payment that has none: its purchase is forgotten, or was paid by another."""
    return replace(unsigned_receipt(entry, entry.id, entry.id, task_id=""), void=entry.point != "confirmed")


def _is_unbought(receipt: Receipt) -> bool:
    return receipt.id == receipt.payment_id
