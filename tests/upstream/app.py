"""The upstream's HTTP face: two routes of OpenAI's, one of Anthropic's, the calls it saw, how it is to behave."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from typing import Any

from aiohttp import web

from tests.upstream import anthropic, embeddings
from tests.upstream.behaviour import Behaviour, Reply, deltas_of, logprobs_of, message_of, reply_to
from tests.upstream.faults import FaultScript, number_of

# developers.openai.com/api/reference, "Create chat completion", without what says who the end customer is.
FIELDS = {
    *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens"),
    *("max_tokens", "messages", "modalities", "model", "n", "parallel_tool_calls", "prediction", "presence_penalty"),
    *("reasoning_effort", "response_format", "seed", "stop", "stream", "stream_options", "temperature"),
    *("tool_choice", "tools", "top_logprobs", "top_p", "verbosity", "web_search_options"),
}


class Upstream:
    def __init__(self, api_key: str | None = None, script: FaultScript | None = None) -> None:
        """With a script, who is not told otherwise by `behave` is answered by it."""
        self.api_key, self._script = api_key, script
        self.app = web.Application(client_max_size=64_000_000)
        self.app.add_routes(
            [
                web.post("/v1/chat/completions", self.chat),
                web.post("/v1/embeddings", self.embeddings),
                web.post("/v1/messages", self.messages),
                web.get("/calls", self.calls),
                web.get("/asked", self.asked),
                web.post("/behave", self.behave),
                web.post("/open", self.open),
                web.post("/reset", self.reset),
            ]
        )
        self._begin()

    def _begin(self) -> None:
        self._always = Behaviour()
        self._embeds = Behaviour()
        self._next: list[Behaviour] = []
        self._count = 0
        self._bodies: deque[dict[str, Any]] = deque(maxlen=20)
        self._asked: defaultdict[int, list[str]] = defaultdict(list)
        self._embedded: deque[dict[str, Any]] = deque(maxlen=20)
        self._violations: list[str] = []
        self._waiting = 0
        self._left = 0
        self._gate = asyncio.Event()

    async def calls(self, request: web.Request) -> web.Response:
        """`count` of chat calls, `waiting` at the gate, `left` by their client before the end, the last bodies, and
        `embedded`: the last bodies on the route of embeddings.
        """
        return web.json_response(
            {
                "count": self._count,
                "waiting": self._waiting,
                "left": self._left,
                "violations": self._violations,
                "bodies": list(self._bodies),
                "embedded": list(self._embedded),
            }
        )

    async def asked(self, request: web.Request) -> web.Response:
        """By the request's number what came of each asking: the record of a script."""
        return web.json_response(self._asked)

    async def behave(self, request: web.Request) -> web.Response:
        """`{"always": {...}, "next": [{...}, ...], "embeddings": {...}}`: fields of Behaviour; `next` is used up, one a
        call; `embeddings` holds for that route, which has no other.
        """
        told = await request.json()
        if "always" in told:
            self._always = Behaviour.of(told["always"])
        if "embeddings" in told:
            self._embeds = Behaviour.of(told["embeddings"])
        self._next += [Behaviour.of(given) for given in told.get("next", [])]
        self._gate.clear()
        return web.json_response({})

    async def open(self, request: web.Request) -> web.Response:
        self._gate.set()
        return web.json_response({})

    async def reset(self, request: web.Request) -> web.Response:
        self._gate.set()
        self._begin()
        return web.json_response({})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        behaviour = self._behaviour(body)
        refusal = self._refusal(request, body)
        if refusal is not None:
            return refusal
        try:
            return await self._answer(request, body, behaviour)
        except (asyncio.CancelledError, ConnectionError):
            self._left += 1
            raise

    def _behaviour(self, body: dict[str, Any]) -> Behaviour:
        """Counts the call, and says what comes of it."""
        self._count += 1
        self._bodies.append(body)
        if self._next or self._script is None or not body.get("messages"):
            return self._next.pop(0) if self._next else self._always
        number = number_of(body["messages"])
        asked = self._asked[number]
        asked.append(self._script.kind(number, len(asked) + 1))
        return self._script.behaviour(number, len(asked))

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self._embedded.append(body)
        behaviour = self._embeds
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _error(401, "Incorrect API key provided")
        if foreign := body.keys() - embeddings.FIELDS:
            self._violations += foreign
            return _error(400, f"Unrecognized request arguments supplied: {', '.join(foreign)}")
        try:
            await self._pass_gate(behaviour, 0)
        except (asyncio.CancelledError, ConnectionError):
            self._left += 1
            raise
        if behaviour.status != 200:
            return _error(behaviour.status, behaviour.error_message)
        if behaviour.raw is not None:
            return _raw(behaviour)
        return web.json_response(embeddings.answer(body, behaviour))

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """Anthropic's route: the same calls, behaviours and gate."""
        body = await request.json()
        behaviour = self._behaviour(body)
        fault = anthropic.fault_in(request, body, self.api_key)
        if fault is not None:
            self._violations.append(fault)
            return anthropic.error(400, fault)
        try:
            await self._pass_gate(behaviour, 0)
            if behaviour.status != 200:
                return anthropic.error(behaviour.status, behaviour.error_message)
            if behaviour.raw is not None:
                return _raw(behaviour)
            if not body.get("stream"):
                return web.json_response(anthropic.message(body, behaviour))
            return await self._anthropic_stream(request, body, behaviour)
        except (asyncio.CancelledError, ConnectionError):
            self._left += 1
            raise

    async def _anthropic_stream(
        self, request: web.Request, body: dict[str, Any], behaviour: Behaviour
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for count, event in enumerate(anthropic.events(body, behaviour)):
            await response.write(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode()))
            if behaviour.cut_after == count + 1:
                _cut(request)
                return response
            if behaviour.end_early and event["type"] == "content_block_stop":
                return response
            await self._pass_gate(behaviour, count + 1)
        return response

    def _refusal(self, request: web.Request, body: dict[str, Any]) -> web.Response | None:
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _error(401, "Incorrect API key provided")
        foreign = sorted(body.keys() - FIELDS) + sorted(name for name in request.headers if "p402" in name.lower())
        if foreign:
            self._violations += foreign
            return _error(400, f"Unrecognized request arguments supplied: {', '.join(foreign)}")
        if not body.get("model") or not body.get("messages"):
            return _error(400, "you must provide a model and messages")
        return None

    async def _answer(self, request: web.Request, body: dict[str, Any], behaviour: Behaviour) -> web.StreamResponse:
        if behaviour.delay_s:
            await asyncio.sleep(behaviour.delay_s)
        await self._pass_gate(behaviour, 0)
        if behaviour.drop:
            _cut(request)
            return web.Response()
        if behaviour.status != 200:
            headers = {"Retry-After": behaviour.retry_after} if behaviour.retry_after else {}
            return _error(behaviour.status, behaviour.error_message, headers)
        if behaviour.raw is not None:
            return _raw(behaviour)
        reply = reply_to(body, behaviour)
        if body.get("stream"):
            return await self._stream(request, body, behaviour, reply)
        return await self._whole(request, body, behaviour, reply)

    async def _whole(
        self, request: web.Request, body: dict[str, Any], behaviour: Behaviour, reply: Reply
    ) -> web.StreamResponse:
        message, logprobs = message_of(reply), logprobs_of(reply.pieces, body.get("logprobs"))
        answer = _head(body, "chat.completion") | {
            "choices": [
                {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reply.finish_reason}
                for index in range(body.get("n") or 1)
            ],
        }
        if reply.usage is not None:
            answer["usage"] = reply.usage
        if behaviour.cut_after is None:
            return web.json_response(answer)
        raw = json.dumps(answer).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(raw))})
        await response.prepare(request)
        await response.write(raw[: len(raw) // 2])
        _cut(request)
        return response

    async def _stream(
        self, request: web.Request, body: dict[str, Any], behaviour: Behaviour, reply: Reply
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        asked = (body.get("stream_options") or {}).get("include_usage")
        head = _head(body, "chat.completion.chunk") | ({"usage": None} if asked else {})

        async def send(choices: list[dict[str, Any]], **more: Any) -> None:
            await response.write(b"data: " + json.dumps(head | {"choices": choices} | more).encode() + b"\n\n")

        indexes = range(body.get("n") or 1)
        for count, delta in enumerate(deltas_of(reply)):
            logprobs = logprobs_of([delta["content"]], body.get("logprobs")) if delta.get("content") else None
            await send(
                [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None} for index in indexes]
            )
            if behaviour.cut_after == count + 1:
                _cut(request)
                return response
            if behaviour.error_after == count + 1:
                await response.write(b'data: {"error": {"message": "the model fell over"}}\n\n')
                return response
            if behaviour.garbage_after == count + 1:
                await response.write(b"data: {garbage\n\n")
                return response
            await self._pass_gate(behaviour, count + 1)
        if behaviour.end_early:
            return response
        await send([{"index": index, "delta": {}, "finish_reason": reply.finish_reason} for index in indexes])
        if asked and reply.usage is not None:
            await send([], usage=reply.usage)
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _pass_gate(self, behaviour: Behaviour, chunks: int) -> None:
        if behaviour.gate_after != chunks:
            return
        self._waiting += 1
        try:
            await self._gate.wait()
        finally:
            self._waiting -= 1


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": body["model"]}


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    error = {"message": message, "type": "error", "param": None, "code": None}
    return web.json_response({"error": error}, status=status, headers=headers)


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


def _raw(behaviour: Behaviour) -> web.Response:
    response = web.Response(text=behaviour.raw, content_type="application/json")
    if behaviour.compressed:
        response.enable_compression(web.ContentCoding.gzip)
    return response
