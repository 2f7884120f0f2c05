"""`/api/v2/sessions`: a cap for an agent's spending, funded, watched and ended (docs/accounts.md)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from agentnode.api.auth import JsonBody, Needs
from agentnode.api.idempotency import IdempotencyKey, once
from agentnode.api.top_up import TopUp
from agentnode.payments import NamedClaim, PaymentRefused, Sale, claim_of
from ledger.accounts import PAID_SOURCES, Caller, Funding, NewSession, PaidIn, Session, Sessions
from ledger.clock import SECOND_US, Clock, rfc3339
from ledger.errors import InvalidInput, NotOffered, SessionEnded
from ledger.money import usd_fields, usd_nanos
from ledger.work import Idempotency

_TEXT_CHARACTERS = 200


def router(sessions: Sessions, idempotency: Idempotency, clock: Clock, top_up: TopUp, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/sessions")
    spends, sees = needs("spend"), needs("spend", "meter:read")

    @routes.post("", status_code=201)
    async def create(body: JsonBody, caller: Caller = spends) -> dict[str, Any]:
        return _shown(await sessions.create(caller, _asked(body)))

    @routes.get("")
    async def listed(status: str | None = None, caller: Caller = sees) -> dict[str, Any]:
        found = await sessions.list(caller.tenant_id, status)
        return {"object": "list", "data": [_shown(session) for session in found]}

    @routes.post("/fund", response_model=None)
    async def fund(
        request: Request, body: JsonBody, caller: Caller = spends, idempotency_key: IdempotencyKey = None
    ) -> dict[str, Any] | Response:
        session_id = _text(body, "session_id") or ""
        amount, source = usd_nanos(body.get("amount"), "amount"), body.get("source", "")
        if source in PAID_SOURCES and amount and top_up.is_open:
            standing = await sessions.get(caller.tenant_id, session_id)
            if standing.status not in ("active", "exhausted"):
                raise SessionEnded(f"{session_id} is {standing.status}; make another session")

            async def make(sale: Sale, money: PaidIn) -> dict[str, Any]:
                funding = await sessions.fund(caller.tenant_id, session_id, amount, source, paid=money)
                settled = {"receipt_id": sale.receipt.id, "transaction": sale.receipt.tx_hash}
                shown = _shown(await sessions.get(caller.tenant_id, session_id))
                return shown | {"funding": _shown_funding(funding, source) | settled}

            named = _transfer_in(body, standing) if body.get("tx_hash") is not None else None
            return await top_up.buy(request, caller.tenant_id, amount, f"Funds of {session_id}", make, named)
        funding = await once(
            idempotency,
            f"fund:{caller.tenant_id}",
            idempotency_key,
            body,
            lambda bind: sessions.fund(caller.tenant_id, session_id, amount, source, bind),
            lambda ref: sessions.funding(caller.tenant_id, ref),
        )
        shown = _shown(await sessions.get(caller.tenant_id, funding.session_id))
        return shown | {"funding": _shown_funding(funding, funding.source)}

    @routes.get("/{session_id}")
    async def get(session_id: str, caller: Caller = sees) -> dict[str, Any]:
        found = await sessions.get(caller.tenant_id, session_id)
        left_us = max(0, found.expires_at_us - clock.now_us())
        meta = {
            "is_active": found.status == "active",
            "is_expired": left_us == 0,
            "time_remaining_seconds": left_us // SECOND_US,
        }
        return _shown(found) | {"meta": meta}

    @routes.delete("/{session_id}")
    async def end(session_id: str, caller: Caller = spends) -> dict[str, Any]:
        return _shown(await sessions.end(caller.tenant_id, session_id))

    @routes.get("/{session_id}/stats")
    async def stats(session_id: str, caller: Caller = sees) -> dict[str, Any]:
        found = await sessions.get(caller.tenant_id, session_id)
        usage = await sessions.usage(caller.tenant_id, session_id)
        return {
            "object": "session_stats",
            "session_id": found.id,
            "status": found.status,
            **usd_fields("budget_usd", found.total_usd_nanos),
            **usd_fields("budget_spent_usd", found.spent_usd_nanos),
            **usd_fields("budget_remaining_usd", found.room_usd_nanos),
            "request_count": usage.requests,
            "cache_hits": usage.cache_hits,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        }

    return routes


def _transfer_in(body: dict[str, Any], session: Session) -> NamedClaim:
    """The transfer that its sender made for this session, and signed with the session's id: a hash is public."""
    try:
        claim = claim_of(body["tx_hash"], body.get("signature"))
    except PaymentRefused as refused:
        raise InvalidInput("tx_hash", refused.reason) from refused
    return NamedClaim(session.id, session.created_at_us, _text(body, "asset") or "", claim)


def _shown_funding(funding: Funding, source: str) -> dict[str, Any]:
    return {"id": funding.id, **usd_fields("amount_usd", funding.amount_usd_nanos), "source": source}


def _asked(body: dict[str, Any]) -> NewSession:
    wallet = body.get("wallet_source")
    if wallet == "cdp":
        raise NotOffered("wallet_source", "cdp comes with unsigned mandates; leave it away, or hire under a mandate")
    if wallet is not None:
        raise InvalidInput("wallet_source", "must be cdp, or absent")
    policy = body.get("policy")
    if policy is not None and not isinstance(policy, dict):
        raise InvalidInput("policy", "must be an object")
    return NewSession(
        budget_usd_nanos=usd_nanos(body.get("budget_usd"), "budget_usd"),
        expires_in_s=_seconds(body.get("expires_in_hours", 24)),
        agent_identifier=_text(body, "agent_identifier"),
        agent_id=_text(body, "agent_id"),
        policy=policy,
    )


def _seconds(hours: Any) -> int:
    if isinstance(hours, bool) or not isinstance(hours, int | float) or hours != hours:  # NaN
        raise InvalidInput("expires_in_hours", "must be a number")
    return int(min(max(hours, 0), 1_000_000) * 3600)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_CHARACTERS or not value.isprintable():
        raise InvalidInput(name, f"must be a text of 1 to {_TEXT_CHARACTERS} printable characters")
    return value


def _shown(session: Session) -> dict[str, Any]:
    total, used = session.total_usd_nanos, session.spent_usd_nanos
    return {
        "object": "session",
        "id": session.id,
        "tenant_id": session.tenant_id,
        "agent_identifier": session.agent_identifier or session.agent_id,
        "agent_id": session.agent_id,
        "budget": {
            **usd_fields("total_usd", total),
            **usd_fields("used_usd", used),
            **usd_fields("held_usd", session.held_usd_nanos),
            **usd_fields("remaining_usd", session.room_usd_nanos),
            "utilization_percent": round(100 * used / total, 2) if total else 0.0,
        },
        **usd_fields("budget_usd", total),
        "status": session.status,
        "created_at": rfc3339(session.created_at_us),
        "expires_at": rfc3339(session.expires_at_us),
        "policy": session.policy,
    }
