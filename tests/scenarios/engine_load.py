"""Numbered chat completions over real HTTP, so many at a time, and what became of each.

`python -m tests.scenarios.engine_load` is a client of its own: it reads its orders as JSON from stdin, prints `ready`,
waits for another line, and prints how the answers ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass
class Answer:
    """What a caller saw. `status` is 0 where the connection failed."""

    number: int
    streamed: bool
    status: int = 0
    request_id: str = ""
    code: str = ""
    """of the error: of HTTP, of a stream's last frame, or the connection's"""
    first_s: float = 0.0
    """until the first token; 0 where none came"""
    took_s: float = 0.0
    whole: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def attempts(self) -> list[str]:
        """Who was asked, in order; nothing where the request failed."""
        return [attempt["provider"] for attempt in self.metadata.get("attempts", ())]


def body_of(number: int, streamed: bool, **more: Any) -> dict[str, Any]:
    """Four words come back for it."""
    return {
        "model": "m1",
        "messages": [{"role": "user", "content": f"#{number} two words"}],
        "max_tokens": 64,
        "stream": streamed,
        "metadata": {"number": str(number)},
        **more,
    }


class Load:
    """Sends to `urls[0]`, and to the next one where a connection is refused."""

    def __init__(
        self, urls: list[str], key: str, connections: int, *, pause_s: float = 0.0, timeout_s: float = 120
    ) -> None:
        """Each connection is one client's, which rests for up to `pause_s` between its requests."""
        self.urls, self._pause_s = urls, pause_s
        self._headers = {"Authorization": f"Bearer {key}"}
        self._connections, self._timeout_s = connections, timeout_s
        self.answers: list[Answer] = []
        self.refused = 0
        """connections that were, so that the other was asked"""

    async def run(self, numbers: Iterable[int], **more: Any) -> list[Answer]:
        """Every second request is streamed. `more` goes into each body."""
        left = iter(numbers)
        await asyncio.gather(*(self._client(left, more) for _ in range(self._connections)))
        return self.answers

    async def _client(self, left: Iterator[int], more: dict[str, Any]) -> None:
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            for number in left:
                self.answers.append(await self.ask(session, number, **more))
                if self._pause_s:
                    await asyncio.sleep(random.uniform(0, self._pause_s))

    async def ask(self, session: aiohttp.ClientSession, number: int, **more: Any) -> Answer:
        answer = Answer(number, streamed=bool(number % 2))
        began = time.perf_counter()
        for place in range(2 * len(self.urls)):
            url = self.urls[(number + place) % len(self.urls)]
            try:
                answer.code = ""
                await self._ask(session, url, answer, began, body_of(number, answer.streamed, **more))
            except aiohttp.ClientConnectorError as error:
                self.refused += 1
                answer.code = type(error).__name__
                await asyncio.sleep(0.02)  # both may be starting
                continue
            except (aiohttp.ClientError, TimeoutError) as error:
                answer.code = type(error).__name__
            break
        answer.took_s = time.perf_counter() - began
        return answer

    async def _ask(
        self, session: aiohttp.ClientSession, url: str, answer: Answer, began: float, body: dict[str, Any]
    ) -> None:
        async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
            answer.status, answer.request_id = reply.status, reply.headers.get("X-P402-Request-ID", "")
            if reply.status != 200 or not answer.streamed:
                said = json.loads(await reply.read())
                if reply.status != 200:
                    answer.code = said["error"]["code"]
                    return
                answer.first_s, answer.whole = time.perf_counter() - began, True
                answer.metadata = said["p402_metadata"]
                return
            async for line in reply.content:
                if line == b"data: [DONE]\n":
                    answer.whole = True
                elif line.startswith(b"data: "):
                    _read_frame(json.loads(line[6:]), answer, began)


def _read_frame(frame: dict[str, Any], answer: Answer, began: float) -> None:
    if "error" in frame:
        answer.code = frame["error"]["code"]
        return
    answer.metadata = frame.get("p402_metadata") or answer.metadata
    if not answer.first_s and any(choice["delta"].get("content") for choice in frame["choices"]):
        answer.first_s = time.perf_counter() - began


def main() -> None:
    orders = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    sys.stdin.readline()
    load = Load(orders["urls"], orders["key"], orders["connections"])
    answers = asyncio.run(load.run(range(orders["first"], orders["first"] + orders["count"]), **orders["more"]))
    print(json.dumps(Counter(answer.code or "whole" for answer in answers)))


if __name__ == "__main__":
    main()
