"""`python -m tests.upstream --port 0 [--key K] [--script JSON]`: prints `ready http://…`, serves until it is ended."""

from __future__ import annotations

import argparse
import asyncio
import signal

from aiohttp import web

from tests.upstream.app import Upstream
from tests.upstream.faults import FaultScript


async def serve(port: int, api_key: str | None, script: FaultScript | None) -> None:
    runner = web.AppRunner(Upstream(api_key, script).app, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=0.1)
    await site.start()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print(f"ready http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.upstream")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", help="the only API key that is let in; none: all are")
    parser.add_argument("--script", type=FaultScript.of, help="a FaultScript as it is written")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.key, given.script))
