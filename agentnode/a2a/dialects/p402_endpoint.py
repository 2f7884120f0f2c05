"""The P402 dialect over HTTP: its JSON-RPC methods, its stream, and its tasks by their address."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from a2a.utils.constants import VERSION_HEADER
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from agentnode.a2a.dialects import p402
from agentnode.a2a.errors import TaskMissing
from agentnode.a2a.events import View
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.runtime import Step, TaskRuntime
from agentnode.payments.asking.task_metadata import ERROR, STATUS, Submission
from ledger.accounts import Caller
from ledger.errors import AgentNodeError, InvalidInput
from ledger.ids import new_id

_OF_A_TASK = ("tasks/get", "tasks/cancel", "tasks/resubscribe")


class P402Endpoint:
    def __init__(self, runtime: TaskRuntime) -> None:
        self._runtime = runtime

    async def speaks(self, request: Request) -> bool:
        """Whether the request is of this dialect: by its form, or, without a version, by the task that it names."""
        body = request.state.body
        if p402.is_p402(body):
            return True
        if not isinstance(body, dict) or body.get("method") not in _OF_A_TASK or VERSION_HEADER in request.headers:
            return False
        params = body.get("params")
        task_id = params.get("id") if isinstance(params, dict) else None
        if not isinstance(task_id, str):
            return False
        try:
            return (await self._runtime.snapshot(task_id, request.state.caller)).task.dialect == p402.DIALECT
        except TaskMissing:
            return False

    async def rpc(self, request: Request) -> Response:
        body = request.state.body
        request_id = body.get("id") if isinstance(body.get("id"), str | int) else None
        try:
            params = body.get("params")
            if not isinstance(params, dict):
                raise InvalidInput("params", "must be an object")
            if body["method"] in (p402.STREAM, "tasks/resubscribe"):
                return await self._streamed(request, body["method"], params, request_id)
            answer = await self._answer(body["method"], params, request)
        except AgentNodeError as error:
            answer = {"error": p402.error_json(error)}
        return JSONResponse({"jsonrpc": "2.0", "id": request_id, **answer})

    async def stream(self, request: Request) -> Response:
        """`POST /api/a2a/stream`: the JSON-RPC request, or its params alone."""
        body = request.state.body
        if not isinstance(body, dict) or "params" not in body:
            body = {"params": body, "id": None}
        request.state.body = {**body, "method": p402.STREAM}
        return await self.rpc(request)

    async def task(self, request: Request) -> Response:
        """`GET /api/a2a/tasks/{id}`."""
        try:
            shown = await self._shown(request.path_params["id"], request.state.caller)
        except AgentNodeError as error:
            return JSONResponse({"error": error.as_dict()}, error.status)
        return JSONResponse(shown)

    async def _answer(self, method: str, params: dict[str, Any], request: Request) -> dict[str, Any]:
        caller = request.state.caller
        match method:
            case p402.SEND:
                incoming = p402.read_message(params, request.headers.get("idempotency-key"))
                view = await self._runtime.send(incoming, caller)
                if "messageId" in view:
                    return {"result": {"message": view}}
                return await self._task_or_price(view["id"], caller)
            case "tasks/get":
                return {"result": await self._shown(str(params.get("id")), caller)}
            case "tasks/cancel":
                await self._runtime.cancel(str(params.get("id")), caller)
                return {"result": await self._shown(str(params.get("id")), caller)}
            case "x402/payment-required":
                task_id = str(params.get("task_id"))
                asked = await self._runtime.price(task_id, caller)
                return {"result": {**p402.price_json(asked), "task_id": task_id}}
            case "x402/payment-submitted":
                return await self._paid(params, caller)
        status = await self._runtime.payment(str(params.get("payment_id")))
        return {"result": p402.payment_json(status)}

    async def _shown(self, task_id: str, caller: Caller) -> dict[str, Any]:
        stands = await self._runtime.snapshot(task_id, caller)
        return {"task": p402.task_json(stands.task, stands.view)}

    async def _task_or_price(self, task_id: str, caller: Caller) -> dict[str, Any]:
        stands = await self._runtime.snapshot(task_id, caller)
        if not p402.owes(stands.task, stands.view):
            return {"result": {"task": p402.task_json(stands.task, stands.view)}}
        asked = await self._runtime.price(task_id, caller)
        data = {**p402.price_json(asked), "task_id": task_id}
        told = stands.view["status"]["message"]
        if code := told["metadata"].get(ERROR):
            data["error"] = code
        return {"error": {"code": p402.PAYMENT_REQUIRED, "message": told["parts"][0]["text"], "data": data}}

    async def _paid(self, params: dict[str, Any], caller: Caller) -> dict[str, Any]:
        payment_id = str(params.get("payment_id"))
        task_id = (await self._runtime.payment(payment_id))["task_id"]
        payload = p402.payload_of(params, await self._runtime.price(task_id, caller))
        said = {
            "messageId": new_id("msg"),
            "role": "ROLE_USER",
            "parts": [{"text": "The payment."}],
            "metadata": {STATUS: "payment-submitted"},
        }
        submission = Submission("payment-submitted", payload)
        pays = Incoming(said, "", ({},), params, p402.DIALECT, 2, task_id=task_id, submission=submission)
        await self._runtime.send(pays, caller, wait=False)
        refused = await self._task_or_price(task_id, caller)
        if "error" in refused:
            return refused
        return {"result": p402.payment_json(await self._runtime.payment(payment_id))}

    async def _streamed(self, request: Request, method: str, params: dict[str, Any], request_id: Any) -> Response:
        caller = request.state.caller
        if method == p402.STREAM:
            incoming = p402.read_message(params, request.headers.get("idempotency-key"))
            steps = self._runtime.stream(incoming, caller)
        else:
            steps = self._runtime.subscribe(str(params.get("id")), caller)
        _, view = await anext(steps)  # what is refused is refused before the stream begins
        if "messageId" not in view:
            first = await self._task_or_price(view["id"], caller)
            if "error" in first:
                await steps.aclose()
                return JSONResponse({"jsonrpc": "2.0", "id": request_id, **first})
        frames = self._frames(view, steps, caller)
        return StreamingResponse(_sse(frames, request_id), media_type="text/event-stream")

    async def _frames(
        self, view: View, steps: AsyncGenerator[Step, None], caller: Caller
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The task, then its new artefacts' pieces and states, then the task at its end."""
        async with contextlib.aclosing(steps):
            if "messageId" in view:
                yield {"message": view}
                return
            yield await self._shown(view["id"], caller)
            async for _, event in steps:
                if event["kind"] == "artifact":
                    piece = p402.artifact_json(event["artifact"])
                    yield {"taskId": view["id"], "artifact": piece, "append": event["append"]}
            yield await self._shown(view["id"], caller)


async def _sse(frames: AsyncGenerator[dict[str, Any], None], request_id: Any) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(frames):
        try:
            async for frame in frames:
                yield _frame({"jsonrpc": "2.0", "id": request_id, "result": frame})
        except AgentNodeError as error:
            yield _frame({"jsonrpc": "2.0", "id": request_id, "error": p402.error_json(error)})


def _frame(told: dict[str, Any]) -> bytes:
    # Not orjson, which writes no integer over 64 bits: an id may be one.
    return b"data: " + json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
