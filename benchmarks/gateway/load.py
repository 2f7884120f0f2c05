"""The load of the gateway benchmark, from a process of its own: raw sockets kept alive, as little work as can be.

Reads its orders as JSON from stdin (`Orders`), prints `Figures` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LEAST_ANSWERS = 2


@dataclass(frozen=True)
class Orders:
    """`rate_per_s`: requests are due evenly at this rate and wait for a free connection; 0: as fast as they go."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    connections: int
    seconds: float
    rate_per_s: float = 0
    warm_up_s: float = 0.3


@dataclass(frozen=True)
class Figures:
    """Of the answers that came after the warm-up. `first_p50_ms`: until the first bytes of a body, of a stream's event.

    `seconds` is with the warm-up.
    """

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    seconds: float
    failed: int
    failure: str


class Run:
    """What all connections share: the request, the clock, the figures."""

    def __init__(self, orders: Orders) -> None:
        at = urlsplit(orders.url)
        body = json.dumps(orders.body).encode()
        headers = {"Host": at.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [
            f"POST {at.path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in (headers | orders.headers).items()),
        ]
        self.request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        self.ends_with = b"[DONE]" if orders.body.get("stream") else b'"choices"'
        self.orders = orders
        self.host, self.port = at.hostname, at.port
        self.took_s, self.first_s = array("d"), array("d")
        self.failed, self.failure = 0, ""
        self.begins = time.perf_counter() + orders.warm_up_s
        self.ended = 0.0
        self.due = time.perf_counter()
        self.open = 0
        self.done = asyncio.get_running_loop().create_future()

    def next_due(self) -> float:
        """When the next request should leave; paced ones queue, so a slow answer is not hidden by asking less."""
        if not self.orders.rate_per_s:
            return time.perf_counter()
        self.due += 1 / self.orders.rate_per_s
        return self.due

    def over(self, now: float) -> bool:
        """Time is up, and slow gateways have answered a few times on each connection (or had three times as long)."""
        orders = self.orders
        least = 0 if orders.rate_per_s else _LEAST_ANSWERS * orders.connections
        late_s = now - self.begins - orders.seconds
        if not self.ended and late_s >= 0 and (len(self.took_s) >= least or late_s >= 2 * orders.seconds):
            self.ended = now
        return self.ended > 0

    def answered(self, begun: float, first: float, whole: bytes) -> None:
        now = time.perf_counter()
        if not whole.startswith(b"HTTP/1.1 200") or self.ends_with not in whole:
            self.failed += 1
            self.failure = whole[:600].decode(errors="replace")
        elif now >= self.begins and (not self.ended or (self.orders.rate_per_s and begun < self.ended)):
            self.took_s.append(now - begun)
            self.first_s.append(first - begun)

    def figures(self) -> Figures:
        took, first = sorted(self.took_s) or [0.0], sorted(self.first_s) or [0.0]
        return Figures(
            requests=len(self.took_s),
            requests_per_s=round(len(self.took_s) / (self.ended - self.begins), 1),
            p50_ms=_at(took, 0.50),
            p99_ms=_at(took, 0.99),
            first_p50_ms=_at(first, 0.50),
            seconds=round(self.ended - self.begins + self.orders.warm_up_s, 3),
            failed=self.failed,
            failure=self.failure,
        )


class Connection(asyncio.Protocol):
    """One request after the other until time is up."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._run.open += 1
        self._next()

    def _next(self) -> None:
        due = self._run.next_due()
        if self._run.over(max(due, time.perf_counter())):
            self._transport.close()
        elif (wait_s := due - time.perf_counter()) > 0:
            self._loop.call_later(wait_s, self._send, due)
        else:
            self._send(due)

    def _send(self, due: float) -> None:
        self._begun, self._first, self._left = due, 0.0, -1
        self._parts.clear()
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if self._left < 0 and not self._head(data):
            return
        if not self._first and (self._size > self._body_at):
            self._first = time.perf_counter()
        if sum(map(len, self._parts)) >= self._left if self._left else data.endswith(b"0\r\n\r\n"):
            self._run.answered(self._begun, self._first, b"".join(self._parts))
            self._next()

    def _head(self, data: bytes) -> bool:
        """Finds where the answer ends: `_left` bytes in all, or 0 for chunked. False until the headers are whole."""
        whole = data if len(self._parts) == 1 else b"".join(self._parts)
        end = whole.find(b"\r\n\r\n")
        if end < 0:
            return False
        said = _LENGTH.search(whole, 0, end)
        self._body_at = end + 4
        self._left = self._body_at + int(said[1]) if said else 0
        return True

    @property
    def _size(self) -> int:
        return sum(map(len, self._parts)) if len(self._parts) > 1 else len(self._parts[0])

    def connection_lost(self, error: Exception | None) -> None:
        run = self._run
        run.open -= 1
        if not run.over(time.perf_counter()):
            run.failed += 1
            run.failure = run.failure or f"the connection was closed: {error}"
        if run.open == 0 and not run.done.done():
            run.done.set_result(None)


def _at(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1_000, 3)


async def _load(orders: Orders) -> Figures:
    run, loop = Run(orders), asyncio.get_running_loop()
    for _ in range(orders.connections):
        await loop.create_connection(lambda: Connection(run), run.host, run.port)
    await asyncio.wait_for(run.done, 3 * orders.seconds + orders.warm_up_s + 60)
    return run.figures()


def main() -> None:
    orders = Orders(**json.load(sys.stdin))
    sys.stdout.write(json.dumps(asdict(uvloop.run(_load(orders)))) + "\n")


if __name__ == "__main__":
    main()
