"""`/api/v2/push/deliveries`: what was not delivered, and why, and trying it again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from agentnode.api.auth import Needs
from ledger.accounts import ANONYMOUS, OPERATOR, Caller
from ledger.clock import rfc3339
from ledger.work import Outbox, OutboxRow


def router(outbox: Outbox, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/push/deliveries")
    sees = needs("chat", "admin")

    @routes.get("")
    async def deliveries(
        state: Literal["waiting", "delivered", "dead"] = "dead",
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
        cursor: str | None = None,
        caller: Caller = sees,
    ) -> dict[str, Any]:
        rows = await outbox.page(_whose(caller), state, limit, cursor)
        last = rows[-1].id if len(rows) == limit else None
        return {"object": "list", "data": [_shown(row) for row in rows], "next_cursor": last}

    @routes.post("/{delivery_id}/retry", status_code=202)
    async def retry(delivery_id: str, caller: Caller = sees) -> dict[str, Any]:
        await outbox.revive(_whose(caller), delivery_id)
        return {"id": delivery_id, "state": "waiting"}

    return routes


def _whose(caller: Caller) -> list[str]:
    """The operator sees to those of callers without a key."""
    return [caller.tenant_id, *([ANONYMOUS.tenant_id] if caller.tenant_id == OPERATOR else [])]


def _shown(row: OutboxRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "task_id": row.ref,
        "push_config_id": row.stream.removeprefix(f"{row.ref}:"),
        "host": row.host,
        "state": row.state,
        "attempts": row.attempts,
        "problem": row.problem,
        "created_at": rfc3339(row.created_at_us),
        "next_attempt_at": rfc3339(row.next_at_us) if row.state == "waiting" else None,
        "ended_at": rfc3339(row.ended_at_us) if row.ended_at_us is not None else None,
    }
