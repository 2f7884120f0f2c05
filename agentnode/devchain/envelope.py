"""JSON-RPC 2.0's envelope: a request or a batch in, answers out; a refusal is an RpcError."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
# What geth answers for a transaction or a call that it refuses, and for one that the contract reverts.
REFUSED = -32000
REVERTED = 3

MOST_IN_A_BATCH = 1_000

Answer = Callable[[str, list[Any]], Awaitable[Any]]


class RpcError(Exception):
    """A refusal with JSON-RPC's code and, for a revert, the contract's own words as `data`."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_dict(self) -> dict[str, Any]:
        shape: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            shape["data"] = self.data
        return shape


async def answer_body(body: bytes, answer: Answer) -> bytes:
    """The answer to one HTTP body. `answer(method, params)` gives a result or raises RpcError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return orjson.dumps(_failed(None, RpcError(PARSE_ERROR, "the body is not JSON")))
    if not isinstance(document, list):
        return orjson.dumps(await _answer_one(document, answer))
    if not document or len(document) > MOST_IN_A_BATCH:
        refusal = RpcError(INVALID_REQUEST, f"a batch holds 1 to {MOST_IN_A_BATCH} requests")
        return orjson.dumps(_failed(None, refusal))
    return orjson.dumps([await _answer_one(request, answer) for request in document])


async def _answer_one(request: Any, answer: Answer) -> dict[str, Any]:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _failed(None, RpcError(INVALID_REQUEST, "a request is an object with a method"))
    identity = request.get("id")
    params = request.get("params") or []
    if not isinstance(params, list):
        return _failed(identity, RpcError(INVALID_PARAMS, "params is a list"))
    try:
        result = await answer(request["method"], params)
    except RpcError as refusal:
        return _failed(identity, refusal)
    except Exception:
        # The rest of a batch still has its answers; what went wrong is a bug and stands in the log.
        logging.getLogger(__name__).exception("%s failed", request["method"])
        return _failed(identity, RpcError(INTERNAL_ERROR, "internal error"))
    return {"jsonrpc": "2.0", "id": identity, "result": result}


def _failed(identity: Any, refusal: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": refusal.as_dict()}
