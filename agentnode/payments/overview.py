"""The operator's view: every settlement with its purchase and receipt, filtered, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlmodel import col, select

from agentnode.payments.settling.entries import Entries, Wanted
from agentnode.payments.tables import POINTS, PaymentIntent, PaymentReceipt, Refund, Settlement
from ledger.clock import SECOND_US, Clock, rfc3339
from ledger.database import Database
from ledger.errors import InvalidInput
from ledger.money import Asset, usd_fields

MOST_IN_A_PAGE = 200
_FILTERS = frozenset(("status", "payer", "payee", "payment_id", "tx_hash", "via", "since", "until", "limit", "cursor"))


class Overview:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._entries = Entries(database, clock)

    async def page(self, wanted: Wanted) -> dict[str, Any]:
        """`{object: "list", data, next_cursor, chain}`; newest first. `chain` says how far each was searched."""
        found = list(await self._entries.listed(replace(wanted, limit=wanted.limit + 1)))
        shown = found[: wanted.limit]
        intents, receipts, refunds = await self._beside(shown)
        return {
            "object": "list",
            "data": [
                _row(entry, intents.get(entry.payment_id), receipts.get(entry.id), refunds.get(entry.id))
                for entry in shown
            ],
            "next_cursor": f"{shown[-1].created_at_us}.{shown[-1].id}" if len(found) > len(shown) else None,
            "chain": [
                {
                    "network": mark.network,
                    "searched_block": mark.searched_block,
                    "database_older_since": rfc3339(mark.older_at_us) if mark.older_at_us else None,
                }
                for mark in await self._entries.marks()
            ],
        }

    async def _beside(
        self, entries: Sequence[Settlement]
    ) -> tuple[Mapping[str, PaymentIntent], Mapping[str, PaymentReceipt], Mapping[str, Refund]]:
        of_payment = select(PaymentIntent).where(col(PaymentIntent.id).in_([entry.payment_id for entry in entries]))
        of_entry = select(PaymentReceipt).where(col(PaymentReceipt.settlement_id).in_([entry.id for entry in entries]))
        back = select(Refund).where(col(Refund.settlement_id).in_([entry.id for entry in entries]))
        async with self._database.read() as session:
            refunds = {row.settlement_id: row for row in (await session.exec(back)).all()}
            intents = {row.id: row for row in (await session.exec(of_payment)).all()}
            receipts = {row.settlement_id: row for row in (await session.exec(of_entry)).all()}
        return intents, receipts, refunds


def wanted_of(given: Mapping[str, str | None]) -> Wanted:
    """What a query asks for. Raises InvalidInput naming the parameter that is off or unknown."""
    given = {name: value for name, value in given.items() if value not in (None, "")}
    unknown = set(given) - _FILTERS
    if unknown:
        raise InvalidInput(min(unknown), "is no filter of payments")
    points = tuple(point.strip() for point in str(given.get("status") or "").split(",") if point.strip())
    for point in points:
        if point not in POINTS:
            raise InvalidInput("status", f"must be of {', '.join(POINTS)}, separated by commas")
    limit = str(given.get("limit") or 50)
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10) or not 1 <= int(limit) <= MOST_IN_A_PAGE:
        raise InvalidInput("limit", f"must be 1 to {MOST_IN_A_PAGE}")
    until = given.get("until")
    return Wanted(
        points=points,
        payer=str(given.get("payer") or ""),
        payee=str(given.get("payee") or ""),
        payment_id=str(given.get("payment_id") or ""),
        tx_hash=str(given.get("tx_hash") or ""),
        via=given.get("via"),
        since_us=_time_us("since", str(given["since"])) if "since" in given else 0,
        until_us=_time_us("until", str(until)) if until else None,
        after=_after(str(given["cursor"])) if "cursor" in given else None,
        limit=int(limit),
    )


def _after(cursor: str) -> tuple[int, str]:
    at_us, _, last = cursor.partition(".")
    if not at_us.isascii() or not at_us.isdigit() or len(at_us) > 18 or not last:
        raise InvalidInput("cursor", "must be the next_cursor of a page before")
    return int(at_us), last


def _time_us(param: str, value: str) -> int:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidInput(param, "must be a time such as 2026-01-31T12:00:00Z") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp() * SECOND_US)


def _row(
    entry: Settlement, intent: PaymentIntent | None, receipt: PaymentReceipt | None, refund: Refund | None
) -> dict[str, Any]:
    usd = refund.amount_usd_nanos if refund else None
    if intent:
        usd = Asset(**intent.asset).nanos_from_atomic(int(entry.amount_atomic))
    return {
        "id": entry.id,
        "payment_id": entry.payment_id or None,
        "task_id": intent.task_id if intent else None,
        "status": entry.point,
        "note": entry.failure or None,
        "payer": entry.payer,
        "payee": entry.payee,
        "network": entry.network,
        "asset": entry.asset,
        "amount_atomic": entry.amount_atomic,
        **(usd_fields("amount_usd", usd) if usd is not None else {"amount_usd": None, "amount_usd_exact": None}),
        "nonce": entry.nonce,
        "tx_hash": entry.tx_hash or None,
        "block_number": entry.block_number,
        "sender": entry.sender or None,
        "account_nonce": entry.account_nonce,
        "tries": entry.tries,
        "via": entry.via or "own",
        "scheme": entry.scheme,
        "receipt_id": receipt.id if receipt else None,
        "refund_of": refund.receipt_id if refund else None,
        "receipt_void": receipt is not None and entry.undone,
        "compliance_version": entry.compliance_version or None,
        "final": entry.look_at_us is None and entry.point not in ("planned", "signed", "broadcast"),
        "created_at": rfc3339(entry.created_at_us),
        "updated_at": rfc3339(entry.updated_at_us),
    }
