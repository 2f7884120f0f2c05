"""The node as a process: its chain, its workers, the ready line, and a clean stop. `agentnode up` becomes this."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import TextIO

import uvicorn
import uvloop

from agentnode.api.chat import Shortcut
from agentnode.app import build
from agentnode.connection import Connection
from agentnode.devchain import ChainChild, ChainExtraMissing
from agentnode.server import Server, accept_no_more
from agentnode.settings import Settings
from ledger.errors import AgentNodeError

SETTINGS = "AGENTNODE_SETTINGS"
_SOCKET = "AGENTNODE_SOCKET_FD"


async def run(settings: Settings, on_point: Callable[[str], None] = lambda name: None) -> int:
    """Serve until SIGTERM or SIGINT. The exit code of the process."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    alone = _SOCKET not in os.environ
    listening = _bind(settings)
    settings = settings.model_copy(update={"port": listening.getsockname()[1]})
    stop = _stop_event()
    async with contextlib.AsyncExitStack() as stack:
        settings = await _with_chain(settings, stack)
        _announce(settings)
        if settings.workers == 1:
            return await _serve(settings, listening, alone, stop, on_point)
        return await _supervise(settings, listening, stop)


async def _with_chain(settings: Settings, stack: contextlib.AsyncExitStack) -> Settings:
    """Start the embedded chain where it is asked for; without its extra the node serves with none, and says so."""
    if settings.chain != "embedded" or settings.rpc_url:
        return settings
    chain = ChainChild(settings.data)
    try:
        await chain.start()
    except ChainExtraMissing as missing:
        _say(f"no chain: {missing}")
        return settings.model_copy(update={"chain": "none"})
    stack.push_async_callback(chain.stop)
    return settings.model_copy(update={"rpc_url": chain.rpc_url})


async def _serve(
    settings: Settings, listening: socket.socket, alone: bool, stop: asyncio.Event, on_point: Callable[[str], None]
) -> int:
    app = await build(settings, on_point)
    # Without proxy headers: whether a caller is on this machine is not for the caller to say.
    config = uvicorn.Config(
        Shortcut(app),
        http=Connection,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    _spare_what_stays()
    server = Server(config, lambda: _say(f"ready {settings.url}", sys.stdout), alone)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
    return 0 if server.started else 1


def _spare_what_stays() -> None:
    """Python's collector would walk the whole node again and again, and hold up every request for 70 ms each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


async def _supervise(settings: Settings, listening: socket.socket, stop: asyncio.Event) -> int:
    """Workers that share the listening socket; one that dies is started again."""
    stopping = asyncio.create_task(stop.wait())
    workers = [await _worker(settings, listening) for _ in range(settings.workers)]
    if not all([await _ready(worker) for worker in workers]):
        await _end(workers)
        return 1
    _say(f"ready {settings.url}", sys.stdout)
    while not stopping.done():
        ends = [asyncio.create_task(worker.wait()) for worker in workers]
        await asyncio.wait([stopping, *ends], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if not stopping.done():
            workers = [w if w.returncode is None else await _worker(settings, listening) for w in workers]
            await asyncio.sleep(0.5)
    accept_no_more(listening)
    listening.close()  # else connections would still be made that nobody accepts
    await _end(workers)
    return 0


async def _worker(settings: Settings, listening: socket.socket) -> Process:
    one = settings.model_copy(update={"workers": 1})
    environment = {**os.environ, SETTINGS: one.model_dump_json(), _SOCKET: str(listening.fileno())}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentnode"), stdout=PIPE, env=environment, pass_fds=[listening.fileno()]
    )


async def _ready(worker: Process) -> bool:
    assert worker.stdout is not None
    return (await worker.stdout.readline()).startswith(b"ready")


async def _end(workers: list[Process]) -> None:
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            worker.terminate()
    await asyncio.gather(*(worker.wait() for worker in workers))


def _bind(settings: Settings) -> socket.socket:
    inherited = os.environ.pop(_SOCKET, None)
    if inherited is not None:
        return socket.socket(fileno=int(inherited))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((settings.host, settings.port))
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop


def _announce(settings: Settings) -> None:
    """Where this folder's node answers, for the CLI's other commands."""
    (settings.data / "node.url").write_text(f"{settings.url}\n")


def _say(line: str, stream: TextIO = sys.stderr) -> None:
    stream.write(f"{line}\n")
    stream.flush()


def main() -> int:
    """Settings come as JSON in the environment: from the CLI, or from the parent of a worker."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings.model_validate_json(os.environ.pop(SETTINGS, "{}"))
    try:
        return uvloop.run(run(settings))
    except AgentNodeError as error:
        _say(str(error))
    except OSError as error:
        _say(f"CANNOT_SERVE: {settings.host}:{settings.port} cannot be served: {error.strerror}; try another --port")
    return 1


if __name__ == "__main__":
    sys.exit(main())
