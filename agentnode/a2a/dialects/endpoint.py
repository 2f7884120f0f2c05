"""One of the SDK's endpoints over HTTP, and what it leaves to the server.

Around each request: the caller is known, the body is bounded and kept as it was read, activated extensions are echoed
in the header they were asked in, and numbers are shown again in what leaves.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from a2a.compat.v0_3.extension_headers import LEGACY_HTTP_EXTENSION_HEADER
from a2a.extensions.common import HTTP_EXTENSION_HEADER, get_requested_extensions
from a2a.server.jsonrpc_models import JSONParseError as RpcParseError
from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.utils.constants import A2A_JSON_MEDIA_TYPE
from a2a.utils.error_handlers import build_rest_error_payload
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidRequestError,
    JSONParseError,
)
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from agentnode.a2a.dialects.exact_numbers import Numbers
from agentnode.payments.asking.task_metadata import X402_EXTENSION_URIS
from ledger.accounts import Caller
from ledger.errors import AgentNodeError
from trust.json_size import has_more_values

MAX_BODY_BYTES = 1_000_000
MOST_VALUES = 10_000
"""In a body: the SDK makes an object of each, in Python, whenever its task is sent or read."""
EXTENSION_HEADERS = (HTTP_EXTENSION_HEADER, LEGACY_HTTP_EXTENSION_HEADER)

Authenticate = Callable[[Request], Awaitable[Caller]]
"""Who asks; ANONYMOUS without a key. Raises KeyInvalid for a key that is none."""


class _Read(Request):
    """A request whose JSON was read before."""

    async def json(self) -> Any:
        return self.state.body


class Endpoint:
    """`rpc`: JSON-RPC; else HTTP+JSON."""

    def __init__(self, inner: Any, authenticate: Authenticate, numbers: Numbers, rpc: bool) -> None:
        self._inner = inner
        self._authenticate = authenticate
        self._numbers = numbers
        self._rpc = rpc

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._rpc:  # 0.3 clients write it so
            query = scope["query_string"].replace(b"history_length=", b"historyLength=")
            scope = {**scope, "query_string": query}
        response = await self.answer(_Read(scope, receive))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        try:
            request.state.caller = await self._authenticate(request)
        except AgentNodeError as error:
            return _refused(error)
        try:
            request.state.body = await self._body(request)
        except A2AError as error:
            return self._refusal(error)
        request.state.sent, request.state.unknown = deque(), []
        response: Response = await self._inner(request)
        if request.state.unknown:
            return _refused(request.state.unknown[0])
        for name in EXTENSION_HEADERS:
            if activated := [uri for uri in X402_EXTENSION_URIS if uri in asked_extensions(request, name)]:
                response.headers[name] = ", ".join(activated)
        self._show_numbers(response, request.state.sent)
        if not self._rpc:
            _name_media_type(request, response)
        if request.method == "GET":  # who asks may stand in a header that no cache knows
            response.headers["Cache-Control"] = "no-store"
        return response

    async def _body(self, request: Request) -> Any:
        """The JSON of the body; None where there is none. Raises A2A's errors."""
        content_type = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
        if request.method == "POST" and content_type not in ("application/json", A2A_JSON_MEDIA_TYPE):
            raise ContentTypeNotSupportedError("send application/json")
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                raise InvalidRequestError(f"the body is larger than {MAX_BODY_BYTES} bytes")
        request._body = bytes(raw)  # where the SDK's REST routes read it
        if not raw and not self._rpc:
            return None
        try:
            # orjson bounds the nesting; the standard parser, which keeps large integers, recurses on the C stack.
            orjson.loads(raw)
            body = json.loads(raw, parse_constant=_refuse_number, parse_float=_finite)
        except (ValueError, RecursionError):
            raise JSONParseError("the body is not JSON") from None
        if raw.count(b",") >= MOST_VALUES and has_more_values(body, MOST_VALUES):
            raise InvalidRequestError(f"the body has more than {MOST_VALUES} values")
        return body

    def _refusal(self, error: A2AError) -> Response:
        if self._rpc:
            # The SDK has no JSON-RPC form of its own JSONParseError, only this class beside it.
            told = RpcParseError(message=error.message) if isinstance(error, JSONParseError) else error
            return JSONResponse(build_error_response(None, told))
        if isinstance(error, JSONParseError):
            error = InvalidRequestError(error.message)
        payload = build_rest_error_payload(error)
        if isinstance(error, ContentTypeNotSupportedError):
            payload["error"]["code"] = 415  # a body of another media type is HTTP's own matter
        return JSONResponse(payload, payload["error"]["code"])

    def _show_numbers(self, response: Response, sent: deque[int]) -> None:
        if isinstance(response, EventSourceResponse):
            response.body_iterator = self._shown(response.body_iterator, sent)
            return
        if isinstance(response, StreamingResponse):  # of the P402 dialect, which keeps numbers as they are
            return
        body = bytes(response.body)
        shown = self._numbers.show(body.decode()).encode()
        if shown != body:
            response.body = shown
            response.headers["content-length"] = str(len(shown))

    async def _shown(self, events: Any, sent: deque[int]) -> AsyncIterator[Any]:
        async for event in events:
            made = event if isinstance(event, dict) else {"data": event.data, "event": event.event}
            # The id is the event's number, with which a client goes on (`Last-Event-ID`), at whichever worker.
            numbered = {"id": str(sent.popleft())} if sent else {}
            yield {**made, "data": self._numbers.show(made["data"]), **numbered}


def _refused(error: AgentNodeError) -> Response:
    """Who is nobody hears it of HTTP, in every version and binding (A2A 1.0, 7.4)."""
    challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse({"error": error.as_dict()}, error.status, headers=challenge)


def asked_extensions(request: Request, *names: str) -> set[str]:
    values = [value for name in names for value in request.headers.getlist(name)]
    asked = get_requested_extensions(values)
    # The header is a list with commas, and one of the URIs has a comma in it.
    return asked | {uri for uri in X402_EXTENSION_URIS if "," in uri and any(uri in value for value in values)}


def _name_media_type(request: Request, response: Response) -> None:
    """`application/a2a+json` to who asks for it or sends it, `application/json` to others."""
    said = request.headers.get("accept", "") + request.headers.get("content-type", "")
    if response.headers.get("content-type") == A2A_JSON_MEDIA_TYPE and A2A_JSON_MEDIA_TYPE not in said:
        response.headers["content-type"] = "application/json"


def _refuse_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("the number is too large")
    return number
