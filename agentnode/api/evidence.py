"""`/api/v2/evidence`: proof bundles, of a hire for its tenant, of a task for who has its id."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from agentnode.api.auth import Needs
from agentnode.evidence.collect import Evidence
from agentnode.payments import PaymentsAbsent
from ledger.accounts import Caller

_NDJSON = "application/x-ndjson"


def router(evidence: Evidence | None, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/evidence")
    spends = needs("spend")

    def present() -> Evidence:
        if evidence is None:
            raise PaymentsAbsent
        return evidence

    @routes.get("/calls/{call_id}")
    async def of_call(call_id: str, caller: Caller = spends) -> Response:
        return Response(await present().of_call(caller.tenant_id, call_id), media_type=_NDJSON)

    @routes.get("/tasks/{task_id}")
    async def of_task(task_id: str) -> Response:
        return Response(await present().of_task(task_id), media_type=_NDJSON)

    return routes
