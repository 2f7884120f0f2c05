"""What a stranger sends is read up to a bound, on every route."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from api_node import ApiNode

from agentnode.api.bodies import MAX_BYTES

CHUNK = b" " * 100_000


@pytest.mark.parametrize(
    "path", ["/api/v2/sessions", "/api/v2/keys", "/api/v2/cache/invalidate", "/api/a2a/mandates", "/api/a2a"]
)
async def test_a_body_without_end_is_not_read_to_its_end(node: ApiNode, path: str) -> None:
    """Sent by nobody in particular: it is refused by its name when a bound is reached, and no more of it is read."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += len(CHUNK)
            yield CHUNK

    answer = await node.client().http.post(
        path, content=endless(), headers={"Content-Type": "application/json", "A2A-Version": "1.0"}
    )
    assert "bytes" in answer.json()["error"]["message"]
    assert sent <= MAX_BYTES + len(CHUNK)


async def test_a_body_that_is_too_large_is_refused_by_name(node: ApiNode) -> None:
    body, headers = CHUNK * 21, {"Content-Type": "application/json"}
    answer = await node.client().http.post("/api/v2/sessions", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "body")
