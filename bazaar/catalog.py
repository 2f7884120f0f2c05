"""The catalog: publish a listing, look it up, find it, and note how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, Protocol

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from bazaar.card import CardFacts, facts
from bazaar.errors import ListingRefused
from bazaar.listing import Check, Draft, card_url, examine, shown
from bazaar.search import Search, page
from bazaar.tables import Listing
from ledger.clock import Clock, rfc3339
from ledger.database import Database
from ledger.errors import AgentNodeError, InvalidInput, NotFound
from ledger.ids import new_id
from ledger.money import usd_fields


class CardReader(Protocol):
    async def read(self, url: str) -> dict[str, Any]:
        """The agent card at a stranger's URL, fetched through the guarded client. Raises an AgentNodeError."""
        ...

    async def check(self, url: str) -> None:
        """Raises an AgentNodeError of status 400 where the URL leads inside, of another where nobody is there."""
        ...


class Bazaar:
    """Listings of all tenants. Publishing is a tenant's, finding is everybody's."""

    def __init__(self, database: Database, clock: Clock, cards: CardReader) -> None:
        self._database = database
        self._clock = clock
        self._cards = cards

    async def validate(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """`{listable, checks:[{rule, ok, severity, field, seen}]}`: what publish would say, and nothing is listed."""
        checks, draft = await self._examined(body)
        return {"listable": draft is not None, "checks": [check.as_dict() for check in checks]}

    async def publish(self, tenant_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """List it, or update the tenant's listing at the same endpoint and skill; answers the listing.

        Raises ListingRefused with every check where a rule is broken.
        """
        checks, draft = await self._examined(body)
        if draft is None:
            raise ListingRefused(checks)
        try:
            return as_dict(await self._store(tenant_id, draft))
        except IntegrityError:
            # Another worker listed the same place in between: now it is an update.
            return as_dict(await self._store(tenant_id, draft))

    async def listing(self, listing_id: str) -> Listing:
        """The row, for who hires by it. Raises NotFound."""
        async with self._database.read() as session:
            row = await session.get(Listing, listing_id)
        if row is None:
            raise NotFound(f"there is no listing {shown(listing_id)}; look it up under /api/v2/bazaar/discover")
        return row

    async def get(self, listing_id: str) -> dict[str, Any]:
        """One listing as answers show it. Raises NotFound."""
        return as_dict(await self.listing(listing_id))

    async def listings(self, filters: Mapping[str, Any], *, tenant_id: str | None = None) -> dict[str, Any]:
        """`{object:"list", data:[listing], next_cursor}`, newest first: the active ones, or all of one tenant's.

        Takes discover's filters too. Raises InvalidInput naming the filter.
        """
        found, after = page(await self._rows(tenant_id), Search.parse({"sort": "newest", **filters}))
        return {"object": "list", "data": [as_dict(listing) for listing in found], "next_cursor": after}

    async def discover(self, filters: Mapping[str, Any]) -> dict[str, Any]:
        """`{resources:[listing], next_cursor}` of docs/bazaar.md's filters. Raises InvalidInput naming the filter."""
        found, after = page(await self._rows(None), Search.parse(filters))
        return {"resources": [as_dict(listing) for listing in found], "next_cursor": after}

    async def record_health(self, listing_id: str, health: str, latency_ms: int | None) -> None:
        """What a probe saw. The latency is smoothed: a quarter of the new figure, three of the old."""
        async with self._database.write() as session:
            row = await session.get(Listing, listing_id, with_for_update=True)
            if row is None:
                raise NotFound(f"there is no listing {shown(listing_id)}")
            row.health = health
            if latency_ms is not None:
                known = row.avg_latency_ms
                row.avg_latency_ms = latency_ms if known is None else (3 * known + latency_ms) // 4

    async def _rows(self, tenant_id: str | None) -> list[Listing]:
        whose = col(Listing.status) == "active" if tenant_id is None else col(Listing.tenant_id) == tenant_id
        async with self._database.read() as session:
            return list((await session.exec(select(Listing).where(whose))).all())

    async def _examined(self, body: Mapping[str, Any]) -> tuple[list[Check], Draft | None]:
        if not isinstance(body, Mapping):
            raise InvalidInput("body", "must be an object")
        url, checks = card_url(dict(body))
        if any(check.refuses for check in checks):
            return checks, None
        card: CardFacts | None = None
        if url is not None:
            try:
                card = facts(await self._cards.read(url))
            except AgentNodeError as unreadable:
                return [
                    *checks,
                    Check("card_readable", False, "error", "agent_card_url", shown(unreadable.message)),
                ], None
            checks.append(Check("card_readable", True, "error", "agent_card_url", shown(url)))
        more, draft = examine(dict(body), card)
        checks += more
        if draft is not None:
            checks.append(await self._reachable(draft.endpoint))
        return checks, None if any(check.refuses for check in checks) else draft

    async def _reachable(self, endpoint: str) -> Check:
        """Inside is refused; nobody there only warns, since it may come up later."""
        try:
            await self._cards.check(endpoint)
        except AgentNodeError as refusal:
            severity: Literal["error", "warning"] = "error" if refusal.status == 400 else "warning"
            return Check("endpoint_leads_outside", False, severity, "endpoint", shown(refusal.message))
        return Check("endpoint_leads_outside", True, "error", "endpoint", shown(endpoint))

    async def _store(self, tenant_id: str, draft: Draft) -> Listing:
        now_us = self._clock.now_us()
        async with self._database.write() as session:
            same_place = (
                select(Listing)
                .where(col(Listing.tenant_id) == tenant_id)
                .where(col(Listing.endpoint) == draft.endpoint)
                .where(col(Listing.skill) == draft.skill)
                .with_for_update()
            )
            row = (await session.exec(same_place)).one_or_none()
            if row is None:
                row = Listing(
                    id=new_id("baz"), tenant_id=tenant_id, created_at_us=now_us, updated_at_us=now_us, **asdict(draft)
                )
                session.add(row)
                return row
            if all(getattr(row, name) == value for name, value in asdict(draft).items()):
                return row
            for name, value in asdict(draft).items():
                setattr(row, name, value)
            row.version += 1
            row.updated_at_us = now_us
            return row


def as_dict(listing: Listing) -> dict[str, Any]:
    """A listing as every answer shows it."""
    return {
        "id": listing.id,
        "type": listing.type,
        "name": listing.name,
        "description": listing.description,
        "endpoint": listing.endpoint,
        "agent_card_url": listing.agent_card_url,
        "skill": listing.skill or None,
        **usd_fields("price_per_call_usd", listing.price_per_call_usd_nanos),
        "currency": listing.currency,
        "capabilities": listing.capabilities,
        "tags": listing.tags,
        "pay_to": listing.pay_to,
        "network": listing.network,
        "asset": listing.asset,
        "health": listing.health,
        "avg_latency_ms": listing.avg_latency_ms,
        "verified": False,
        "status": listing.status,
        "version": listing.version,
        "created_at": rfc3339(listing.created_at_us),
        "updated_at": rfc3339(listing.updated_at_us),
    }
