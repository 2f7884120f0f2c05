"""A load of equal A2A requests from a process of its own: requests a second, and how long each took."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import aiohttp
import uvloop

_HEADERS = {"Content-Type": "application/json", "A2A-Version": "1.0"}


async def _run(url: str, clients: int, requests: int) -> dict[str, float]:
    took_s: list[float] = []
    numbers = iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = _body(f"m-{time.monotonic_ns()}-{number}")
            begun = time.perf_counter()
            async with session.post(f"{url}/api/a2a", data=body, headers=_HEADERS) as answer:
                text = await answer.read()
            took_s.append(time.perf_counter() - begun)
            if b"TASK_STATE_COMPLETED" not in text:
                raise SystemExit(f"not completed: {text[:500]!r}")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        seconds = time.perf_counter() - begun
    cuts = statistics.quantiles(took_s, n=100)
    return {
        "requests_per_s": round(requests / seconds, 1),
        "p50_ms": round(cuts[49] * 1_000, 2),
        "p99_ms": round(cuts[98] * 1_000, 2),
    }


def _body(message_id: str) -> bytes:
    message = {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": "hello"}]}
    params = {"message": message, "metadata": {"skill": "echo"}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}).encode()


def main() -> None:
    url, clients, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.stdout.write(json.dumps(uvloop.run(_run(url, clients, requests))) + "\n")


if __name__ == "__main__":
    main()
