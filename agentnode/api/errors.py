"""Every refusal over HTTP has one shape: `{"error": {"type", "message", "code", "param"?, "retryAfterMs"?}}`."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from agentnode.payments import (
    PaymentNeeded,
    Reply,
    SettlementPending,
    SignInNeeded,
    payment_required,
    sign_in_required,
)
from ledger.errors import AgentNodeError, InvalidInput, NotFound

_log = logging.getLogger(__name__)


class MethodNotAllowed(AgentNodeError):
    """The path is there, and this is not how to ask it."""

    code = "METHOD_NOT_ALLOWED"
    status = 405


class BodyTooSlow(AgentNodeError):
    """A body that does not come to its end would keep its room for as long as its sender likes."""

    code = "BODY_TOO_SLOW"
    status = 408


def install(app: FastAPI) -> None:
    """Render our errors, the framework's, and bugs."""
    app.add_exception_handler(AgentNodeError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _bug)


def render(error: AgentNodeError) -> Response:
    headers: dict[str, str] = {}
    if error.retry_after_ms is not None:
        headers = {"Retry-After": str(-(-error.retry_after_ms // 1000)), "retry-after-ms": str(error.retry_after_ms)}
    if not error.should_retry or (error.status == 409 and error.retry_after_ms is None):
        headers["x-should-retry"] = "false"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, PaymentNeeded):
        return _with(payment_required(error), headers)
    if isinstance(error, SignInNeeded):
        return _with(sign_in_required(error), headers)
    if isinstance(error, SettlementPending):
        headers["Location"] = error.location
    # In ASCII: a message that quotes what was sent can hold text that has no UTF-8.
    return Response(json.dumps({"error": error.as_dict()}), error.status, headers, "application/json")


def _with(reply: Reply, headers: dict[str, str]) -> Response:
    response = Response(reply.content, reply.status, headers)
    response.raw_headers.extend(reply.headers)
    return response


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, AgentNodeError)
    return render(error)


async def _malformed(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    return render(InvalidInput(".".join(where) or "body", f"is not valid: {first['msg']}"))


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, AgentNodeError):  # raised while the body was read
        return render(error.__cause__)
    if error.status_code == 404:
        return render(NotFound(f"there is nothing at {request.url.path}"))
    if error.status_code == 405:
        return render(MethodNotAllowed(f"{request.method} is not among what {request.url.path} answers"))
    return render(InvalidInput("body", "is not valid JSON"))


async def _bug(request: Request, error: Exception) -> Response:
    _log.error("unexpected error at %s %s", request.method, request.url.path, exc_info=error)
    return render(AgentNodeError("something unexpected happened; the operator's log has it"))
