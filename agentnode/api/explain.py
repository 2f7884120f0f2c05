"""`POST /api/v2/route/explain` and `GET /api/v2/requests/{id}/trace`: how a request would be, and was, decided."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agentnode.api.auth import JsonBody, Needs
from engine import CompletionRequest, Engine, attribution_of, options_of
from ledger.accounts import AccountBook, Caller
from ledger.clock import rfc3339
from ledger.errors import NotFound
from ledger.events import EconomicEvent, Events
from ledger.money import usd_fields


def router(engine: Engine, events: Events, book: AccountBook, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2")
    asks, reads = needs("chat"), needs("chat", "meter:read")

    @routes.post("/route/explain")
    async def explain(body: JsonBody, caller: Caller = asks) -> dict[str, Any]:
        options = options_of(body)
        account = await book.open(caller, options.session_id, attribution_of(body))
        return engine.explain(CompletionRequest.parse(body), options, account)

    @routes.get("/requests/{request_id}/trace")
    async def trace(request_id: str, caller: Caller = reads) -> dict[str, Any]:
        booked = await events.of_request(caller.tenant_id, request_id)
        if not booked:
            raise NotFound(
                f"nothing was booked for the request {request_id} of this tenant: what was refused for its form, key,"
                " rate, concurrency or model was told in its answer only"
            )
        return {
            "object": "request_trace",
            "request_id": request_id,
            "session_id": booked[0].session_id,
            "events": [_shown(event) for event in booked],
        }

    return routes


def _shown(event: EconomicEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "at": rfc3339(event.at_us),
        "decision": event.decision,
        "deny_code": event.deny_code,
        "provider": event.provider,
        "model": event.model,
        "price_version": event.price_version,
        "usage": {
            "input_tokens": event.input_tokens,
            "cached_input_tokens": event.cached_input_tokens,
            "cache_write_tokens": event.cache_write_tokens,
            "output_tokens": event.output_tokens,
            "reasoning_tokens": event.reasoning_tokens,
        },
        **usd_fields("cost_usd", event.cost_usd_nanos),
        **usd_fields("overrun_usd", event.overrun_usd_nanos),
        "latency_ms": event.latency_ms,
        "estimated": event.estimated,
        "corrects": event.corrects,
        "attribution": event.attribution,
        "trace": event.trace,
    }
