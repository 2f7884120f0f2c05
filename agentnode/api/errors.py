"""Every refusal over HTTP has one shape: `{"error": {"type", "message", "code", "param"?, "retryAfterMs"?}}`."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from agentnode.payments import Reply, refused
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
    return response_of(refused(error))


def response_of(reply: Reply) -> Response:
    """As the framework sends it."""
    response = Response(reply.content, reply.status)  # says its length by itself
    response.raw_headers.extend(header for header in reply.headers if header[0] != b"content-length")
    return response


def shown_error(error: Exception, where: str) -> AgentNodeError:
    """The error, or for a bug what is told of it: the log has the rest."""
    if isinstance(error, AgentNodeError):
        return error
    _log.error("unexpected error %s", where, exc_info=error)
    return AgentNodeError("something unexpected happened; the operator's log has it")


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
        refused = render(MethodNotAllowed(f"{request.method} is not among what {request.url.path} answers"))
        refused.headers.update(error.headers or {})  # `Allow`
        return refused
    return render(InvalidInput("body", "is not valid JSON"))


async def _bug(request: Request, error: Exception) -> Response:
    return render(shown_error(error, f"at {request.method} {request.url.path}"))
