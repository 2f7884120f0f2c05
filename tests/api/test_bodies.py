"""What a stranger sends is read up to a bound, on every route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from api_node import ApiNode
from starlette.types import Message, Receive, Scope, Send

from agentnode.api.bounded_bodies import MAX_BYTES, BoundedBodies
from agentnode.api.chat.body import MAX_BODY_BYTES, Part, Room, read_body
from agentnode.api.errors import BodyTooSlow
from ledger.errors import InvalidInput, Unavailable

CHUNK = b" " * 100_000


PATHS = ("sessions", "keys", "cache/invalidate", "route/explain")


async def test_a_body_without_end_is_not_read_to_its_end(node: ApiNode) -> None:
    """Sent by nobody in particular: it is refused by its name when a bound is reached, and no more of it is read."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += len(CHUNK)
            yield CHUNK

    headers = {"Content-Type": "application/json", "A2A-Version": "1.0"}
    for path in [*(f"/api/v2/{path}" for path in PATHS), "/api/a2a/mandates", "/api/a2a"]:
        sent = 0
        answer = await node.client().http.post(path, content=endless(), headers=headers)
        assert "bytes" in answer.json()["error"]["message"], path
        assert sent <= MAX_BYTES + len(CHUNK), path


async def test_a_body_that_is_too_large_is_refused_by_name(node: ApiNode) -> None:
    body, headers = CHUNK * 21, {"Content-Type": "application/json"}
    answer = await node.client().http.post("/api/v2/sessions", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "body")


def arriving(*parts: bytes) -> Receive:
    left = list(parts)

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


async def read(room_part: Part, *parts: bytes, tenant_id: str = "acme") -> bytes:
    return await read_body(arriving(*parts), {}, room_part, tenant_id, within_s=60)


async def test_the_bodies_of_all_requests_at_work_have_a_bound_together() -> None:
    """Who comes beyond it is told to come again, and finds room when another has ended."""
    room = Room(most_bytes=10, most_of_one_bytes=10, free_bytes=0)
    with room.part() as first:
        assert await read(first, b"1234", b"567") == b"1234567"
        with room.part() as second, pytest.raises(Unavailable) as told:
            await read(second, b"12", b"34", tenant_id="other")
        assert told.value.retry_after_ms and told.value.status == 503
    with room.part() as third:
        assert await read(third, b"1234567890") == b"1234567890"


async def test_one_tenant_leaves_room_for_others_and_little_always_finds_room() -> None:
    room = Room(most_bytes=10, most_of_one_bytes=6, free_bytes=2)
    with room.part() as first, room.part() as second, room.part() as third:
        await read(first, b"12345678")
        with pytest.raises(Unavailable):
            await read(second, b"123")
        await read(second, b"123456", tenant_id="other")
        await read(third, b"1", b"2")


async def test_a_body_comes_to_its_end_in_time_or_gives_its_room_back() -> None:
    """Its sender is told so with a 408; one that breaks off is nothing to be paid for, though it be JSON."""
    room = Room(most_bytes=10, most_of_one_bytes=10, free_bytes=0)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    messages: list[Receive] = [arriving(b"{}", b""), never]
    with room.part() as part, pytest.raises(BodyTooSlow) as told:
        await read_body(lambda: messages.pop(0)(), {}, part, "acme", within_s=0.01)
    assert told.value.status == 408
    with room.part() as part:
        await read(part, b"1234567890")

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    messages = [arriving(b"{}", b""), gone]
    with room.part() as part, pytest.raises(InvalidInput, match="broke off"):
        await read_body(lambda: messages.pop(0)(), {}, part, "acme", within_s=60)


async def test_no_route_waits_for_a_body_for_ever() -> None:
    """What is behind the bound is told with the same 408, however much has come; who leaves is no bug of ours."""

    async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    async def trickling() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def unheard(_message: Message) -> None:
        raise AssertionError

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "path": "/"}
    with pytest.raises(BodyTooSlow):
        await BoundedBodies(reads, within_s=0.01)(scope, trickling, unheard)
    with pytest.raises(InvalidInput, match="broke off"):
        await BoundedBodies(reads, within_s=60)(scope, gone, unheard)


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    told = {b"content-length": b"%d" % (MAX_BODY_BYTES + 1)}
    with Room().part() as part, pytest.raises(InvalidInput):
        await read_body(arriving(), told, part, "acme", within_s=60)


async def test_a_body_of_endless_parts_is_refused_before_they_are_made(node: ApiNode) -> None:
    """Two bytes of JSON can take sixty of memory."""
    client = await node.tenant("t", "chat")
    body = b'{"model": "m1", "messages": [' + b"[]," * 1_000_001 + b"[]]}"
    answer = await client.http.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "body")
    assert "parts" in answer.json()["error"]["message"]
