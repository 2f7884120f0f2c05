"""Economic events: one priced row per call, appended with the capture that paid for it, corrected by later events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, String, and_, or_, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, col, select

from ledger.database import Database, Row
from ledger.errors import InvalidInput, NotFound
from ledger.ids import ordered_id

EventKind = Literal["engine_call", "paid_task", "hire", "refund", "cache_hit", "correction", "refusal"]
EvidenceStatus = Literal["present", "missing"]

KINDS: tuple[EventKind, ...] = ("engine_call", "paid_task", "hire", "refund", "cache_hit", "correction", "refusal")
_MAX_PAGE = 200
_JSON = JSON().with_variant(JSONB(), "postgresql")


@dataclass(kw_only=True)
class EventDraft:
    """What is known of a call before the ledger books it. (Not frozen: that takes three times as long to make.)

    Money in USD nanos, times in microseconds. What is charged (`cost_usd_nanos`), what of it credits paid
    (`credits_usd_nanos`) and what the node bears (`overrun_usd_nanos`) are set by the capture; a draft's own values
    count only where no hold is involved.
    """

    kind: EventKind
    tenant_id: str
    id: str = field(default_factory=lambda: ordered_id("evt"))
    request_id: str | None = None
    task_id: str | None = None
    provider: str | None = None
    model: str | None = None
    price_version: str | None = None
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd_nanos: int = 0
    upstream_cost_usd_nanos: int = 0
    overrun_usd_nanos: int = 0
    revenue_usd_nanos: int = 0
    latency_ms: int | None = None
    session_id: str | None = None
    key_id: str | None = None
    credits_usd_nanos: int = 0
    mandate_id: str | None = None
    mandate_use_id: str | None = None
    receipt_id: str | None = None
    payment_id: str | None = None
    decision: str | None = None
    deny_code: str | None = None
    evidence_status: EvidenceStatus = "missing"
    estimated: bool = False
    corrects: str | None = None
    attribution: dict[str, Any] = field(default_factory=dict)
    trace: dict[str, Any] = field(default_factory=dict)
    privacy_mode: str = "metadata_only"

    def as_row(self) -> dict[str, Any]:
        """The values of a row of `economic_events`, all but `at_us`, which the ledger sets."""
        return dict(vars(self))


class EconomicEvent(Row, table=True):
    __tablename__ = "economic_events"
    __table_args__ = (
        CheckConstraint(f"kind IN ({', '.join(repr(kind) for kind in KINDS)})", name="kind"),
        CheckConstraint("evidence_status IN ('present', 'missing')", name="evidence_status"),
        CheckConstraint(
            "cost_usd_nanos >= 0 AND upstream_cost_usd_nanos >= 0"
            " AND overrun_usd_nanos >= 0 AND revenue_usd_nanos >= 0 AND credits_usd_nanos >= 0",
            name="money",
        ),
        Index("ix_economic_events_tenant_at", "tenant_id", "at_us", "id"),
        Index("ix_economic_events_tenant_request", "tenant_id", "request_id"),
        Index("ix_economic_events_task", "task_id"),
        Index(
            "ix_economic_events_session",
            *("session_id", "at_us"),
            postgresql_where=text("session_id IS NOT NULL"),
            sqlite_where=text("session_id IS NOT NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    kind: str
    at_us: int = Field(sa_type=BigInteger)
    request_id: str | None
    task_id: str | None
    provider: str | None
    model: str | None
    price_version: str | None
    input_tokens: int = Field(sa_type=BigInteger)
    cached_input_tokens: int = Field(sa_type=BigInteger)
    cache_write_tokens: int = Field(sa_type=BigInteger)
    output_tokens: int = Field(sa_type=BigInteger)
    reasoning_tokens: int = Field(sa_type=BigInteger)
    cost_usd_nanos: int = Field(sa_type=BigInteger)
    upstream_cost_usd_nanos: int = Field(sa_type=BigInteger)
    overrun_usd_nanos: int = Field(sa_type=BigInteger)
    revenue_usd_nanos: int = Field(sa_type=BigInteger)
    latency_ms: int | None = Field(sa_type=BigInteger)
    session_id: str | None
    key_id: str | None
    credits_usd_nanos: int = Field(sa_type=BigInteger)
    mandate_id: str | None
    mandate_use_id: str | None
    receipt_id: str | None
    payment_id: str | None
    decision: str | None
    deny_code: str | None
    evidence_status: str
    estimated: bool
    corrects: str | None
    attribution: dict[str, Any] = Field(sa_column=Column(_JSON, nullable=False))
    trace: dict[str, Any] = Field(sa_column=Column(_JSON, nullable=False))
    privacy_mode: str = Field(sa_column=Column(String, nullable=False))


@dataclass(frozen=True)
class EventPage:
    events: Sequence[EconomicEvent]
    next_cursor: str | None
    """hand it back as `cursor` for the next page; None on the last"""


class Events:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, event_id: str, tenant_id: str | None = None) -> EconomicEvent:
        """The event, of this tenant if one is named. Raises NotFound."""
        async with self._database.read() as session:
            event = await session.get(EconomicEvent, event_id)
        if event is None or tenant_id not in (None, event.tenant_id):
            raise NotFound(f"there is no event {event_id}")
        return event

    async def list(
        self,
        tenant_id: str,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
        **equal: str,
    ) -> EventPage:
        """The tenant's events, newest first. `equal` names columns and the values they must have.

        Raises InvalidInput for a cursor that no page gave, and for a column that an event does not have.
        """
        asked = select(EconomicEvent).where(EconomicEvent.tenant_id == tenant_id)
        for name, value in equal.items():
            if name not in EconomicEvent.model_fields:
                raise InvalidInput(name, "is not a field of an event")
            asked = asked.where(getattr(EconomicEvent, name) == value)
        if since_us is not None:
            asked = asked.where(EconomicEvent.at_us >= since_us)
        if until_us is not None:
            asked = asked.where(EconomicEvent.at_us < until_us)
        at, key = col(EconomicEvent.at_us), col(EconomicEvent.id)
        if cursor is not None:
            last_at_us, last_id = _position(cursor)
            asked = asked.where(or_(at < last_at_us, and_(at == last_at_us, key < last_id)))
        size = max(1, min(limit, _MAX_PAGE))
        async with self._database.read() as session:
            found = (await session.exec(asked.order_by(at.desc(), key.desc()).limit(size + 1))).all()
        page = found[:size]
        return EventPage(page, f"{page[-1].at_us}:{page[-1].id}" if len(found) > size else None)

    async def latest(self, tenant_id: str, kind: str, limit: int) -> Sequence[EconomicEvent]:
        """The tenant's last events of a kind, newest first."""
        return (await self.list(tenant_id, limit=limit, kind=kind)).events

    async def of_request(self, tenant_id: str, request_id: str) -> Sequence[EconomicEvent]:
        """All events of one of the tenant's requests, oldest first."""
        asked = select(EconomicEvent).where(EconomicEvent.tenant_id == tenant_id)
        mine = asked.where(EconomicEvent.request_id == request_id)
        async with self._database.read() as session:
            return (await session.exec(mine.order_by(col(EconomicEvent.at_us), col(EconomicEvent.id)))).all()

    async def of_task(self, task_id: str) -> Sequence[EconomicEvent]:
        """All events of one task, oldest first."""
        asked = select(EconomicEvent).where(EconomicEvent.task_id == task_id)
        async with self._database.read() as session:
            return (await session.exec(asked.order_by(col(EconomicEvent.at_us), col(EconomicEvent.id)))).all()


def _position(cursor: str) -> tuple[int, str]:
    at_us, colon, event_id = cursor.partition(":")
    if not colon or not at_us.isascii() or not at_us.isdigit() or len(at_us) > 18:
        raise InvalidInput("cursor", "must be the next_cursor of a page")
    return int(at_us), event_id


__all__ = ["KINDS", "EconomicEvent", "EventDraft", "EventKind", "EventPage", "Events"]
