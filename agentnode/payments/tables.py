"""Rows of the toll gate: what was asked, what is being settled, what was received."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, Text, text
from sqlmodel import Field

from ledger.database import Row

OPEN_POINTS = ("planned", "signed", "broadcast")
"""Under way: the money may move at any moment."""
UNPAID_POINTS = ("failed", "abandoned")
"""Ended without a transfer: another payment may take its place."""
POINTS = (*OPEN_POINTS, "confirmed", "reorged", *UNPAID_POINTS)
_OPEN_SQL = "point IN ('planned', 'signed', 'broadcast')"
_PAYS_SQL = "payment_id <> '' AND point NOT IN ('failed', 'abandoned')"
_WATCHED_SQL = "look_at_us IS NOT NULL"


def _amount(name: str) -> Any:
    """Atomic units can pass 2**63 for tokens of 18 decimals, so they are kept as decimal text."""
    return Field(sa_column=Column(name, Text, nullable=False))


class PaymentIntent(Row, table=True):
    """The price that one task was given."""

    __tablename__ = "payment_intent"
    __table_args__ = (
        CheckConstraint("status IN ('required', 'paid', 'rejected', 'expired')", name="status_known"),
        CheckConstraint("price_usd_nanos > 0", name="price_positive"),
    )

    id: str = Field(primary_key=True)
    task_id: str = Field(unique=True)
    quote_id: str
    status: str = "required"
    price_usd_nanos: int = Field(sa_type=BigInteger)
    amount_atomic: str = _amount("amount_atomic")
    asset: dict[str, Any] = Field(sa_column=Column("asset", JSON, nullable=False))
    pay_to: str
    resource: str
    description: str
    input_hash: str
    max_timeout_s: int
    expires_at_us: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)
    price_version: str = ""
    fills_purse: bool = False
    """What is paid is in the receipt's purse, from which the work takes what it comes to; a task's once it failed."""
    receipt_id: str | None = None
    """The receipt of an earlier payment that paid for a task"""
    receipt_counter: int | None = Field(default=None, sa_type=BigInteger)


class Settlement(Row, table=True):
    """One entry of the settlement journal: an authorisation that is being, or was, turned into a transfer; or, of the
    scheme `onchain`, a transfer that its sender made and claims, whose `nonce` is the transaction's hash.

    `payment_id` is the intent it pays; `x402:payer:nonce` where the facilitator settles for another seller; empty where
    the chain shows a payment to this node of which this database knows no purchase.
    """

    __tablename__ = "settlement"
    __table_args__ = (
        CheckConstraint(
            "point IN ('planned', 'signed', 'broadcast', 'confirmed', 'reorged', 'failed', 'abandoned')",
            name="point_known",
        ),
        CheckConstraint("scheme IN ('exact', 'onchain')", name="scheme_known"),
        Index("uq_settlement_authorization", "network", "asset", "payer", "nonce", unique=True),
        Index(
            "uq_settlement_payment_open",
            "payment_id",
            unique=True,
            sqlite_where=text(_PAYS_SQL),
            postgresql_where=text(_PAYS_SQL),
        ),
        Index("ix_settlement_open", "seq", sqlite_where=text(_OPEN_SQL), postgresql_where=text(_OPEN_SQL)),
        Index(
            "ix_settlement_watched", "look_at_us", sqlite_where=text(_WATCHED_SQL), postgresql_where=text(_WATCHED_SQL)
        ),
        Index("ix_settlement_created", "created_at_us", "id"),
        Index("ix_settlement_payer", "payer", "created_at_us"),
    )

    id: str = Field(primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    """Order of arrival, in microseconds: the order in which the queue takes them."""
    payment_id: str = ""
    scheme: str = "exact"
    point: str = "planned"
    network: str
    asset: str
    payer: str
    payee: str
    nonce: str
    amount_atomic: str = _amount("amount_atomic")
    valid_before_s: int = Field(sa_type=BigInteger)
    call_data: str
    planned_block: int = Field(sa_type=BigInteger)
    """The chain's head when it was planned: no transfer under this authorisation by us is older."""
    gas: int | None = Field(default=None, sa_type=BigInteger)
    """What the call took when it was tried, just before it was planned."""
    sender: str = ""
    account_nonce: int | None = Field(default=None, sa_type=BigInteger)
    tries: int = 0
    tx_hash: str = ""
    block_number: int | None = Field(default=None, sa_type=BigInteger)
    block_hash: str = ""
    failure: str = ""
    look_at_us: int | None = Field(default=None, sa_type=BigInteger)
    """When the chain is asked again about one that has ended; None where nothing can change it any more."""
    via: str = ""
    """The URL of the facilitator that carries it; empty: our own queue."""
    handed: dict[str, Any] | None = Field(default=None, sa_column=Column("handed", JSON))
    """What such a facilitator is given: `{body: {x402Version, paymentPayload, paymentRequirements}, tried}`; or what
    the sender of a transfer signed: `{claim: {payment_id, authority, signature}}`."""
    compliance_version: str = ""
    """The list by which payer and payee were let through."""
    created_at_us: int = Field(sa_type=BigInteger)
    updated_at_us: int = Field(sa_type=BigInteger)

    @property
    def was_confirmed(self) -> bool:
        """Once: it may have bought something."""
        return self.block_number is not None

    @property
    def undone(self) -> bool:
        """It was confirmed, and is not so now."""
        return self.was_confirmed and self.point != "confirmed"


class JournalMark(Row, table=True):
    """How far a chain was searched for payments to this node."""

    __tablename__ = "journal_mark"

    network: str = Field(primary_key=True)
    searched_block: int = Field(sa_type=BigInteger)
    older_at_us: int | None = Field(default=None, sa_type=BigInteger)
    """When it was seen that this database is a restored, older one: the chain showed payments that this node had sent
    and it does not know, or the data folder a later beat."""
    beat: int = Field(default=0, sa_type=BigInteger)
    """Counts the searches; the data folder keeps the last count too."""


class SettlementAttempt(Row, table=True):
    """A signed transaction of a settlement. Attempts share the account nonce, so at most one of them confirms."""

    __tablename__ = "settlement_attempt"

    tx_hash: str = Field(primary_key=True)
    settlement_id: str = Field(index=True)
    account_nonce: int = Field(sa_type=BigInteger)
    raw_tx: str
    gas: int = Field(sa_type=BigInteger)
    max_fee_per_gas: str
    max_priority_fee_per_gas: str
    signed_at_us: int = Field(sa_type=BigInteger)


class PaymentReceipt(Row, table=True):
    """What the seller acknowledges: one a payment."""

    __tablename__ = "payment_receipt"

    id: str = Field(primary_key=True)
    payment_id: str = Field(unique=True)
    task_id: str = Field(index=True)
    settlement_id: str = Field(unique=True)
    """One transfer, one receipt."""
    payer: str = Field(index=True)
    payee: str
    amount_atomic: str = _amount("amount_atomic")
    asset: str
    network: str
    tx_hash: str
    block_number: int = Field(sa_type=BigInteger)
    settled_at_us: int = Field(sa_type=BigInteger)
    refundable_until_us: int = Field(default=0, sa_type=BigInteger)
    """Until when its payer may have back what is left; 0 where that was never said."""
    jws: str


class Refund(Row, table=True):
    """What was left of a receipt, and is on its way back to the payer: one a receipt, and the receipt is burned."""

    __tablename__ = "refund"
    __table_args__ = (
        CheckConstraint("asked_by IN ('payer', 'operator')", name="asked_by_known"),
        CheckConstraint("amount_usd_nanos > 0", name="amount_positive"),
    )

    id: str = Field(primary_key=True)
    receipt_id: str = Field(unique=True)
    payment_id: str = Field(index=True)
    """The purchase that the receipt is for"""
    settlement_id: str = Field(unique=True)
    amount_usd_nanos: int = Field(sa_type=BigInteger)
    asked_by: str
    created_at_us: int = Field(sa_type=BigInteger)


class Delivery(Row, table=True):
    """One thing that is bought over HTTP: at work, or done. The row is deleted where the work came to nothing."""

    __tablename__ = "delivery"
    __table_args__ = (
        CheckConstraint("state IN ('working', 'done', 'received')", name="state_known"),
        Index("uq_delivery_counter", "receipt_id", "counter", unique=True),
        Index("uq_delivery_identifier", "payer", "identifier", unique=True),
        Index("ix_delivery_bought", "payer", "input_hash"),
    )

    id: str = Field(primary_key=True)
    """The payment's id, or the receipt's with the counter."""
    receipt_id: str | None = None
    counter: int | None = Field(default=None, sa_type=BigInteger)
    """Of a spend of a receipt, which it names; a delivery that a payment bought itself has neither."""
    payer: str
    identifier: str | None = None
    """The payer's own name for it (x402 extension `payment-identifier`)."""
    input_hash: str
    state: str = "working"
    """`done`: the work is done and its answer kept; `received`: and the payer had it."""
    fence: int = Field(default=1, sa_type=BigInteger)
    lease_until_us: int = Field(sa_type=BigInteger)
    created_at_us: int = Field(sa_type=BigInteger)


class UsedSignIn(Row, table=True):
    """The nonce of a challenge that a wallet has answered: each is good once. Deleted when the challenge has ended."""

    __tablename__ = "used_sign_in"

    nonce: str = Field(primary_key=True)
    ends_at_us: int = Field(sa_type=BigInteger, index=True)
