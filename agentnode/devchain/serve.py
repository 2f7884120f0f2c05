"""Serves the chain until it is told to stop, by a signal or by its parent's death."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from .chain import DevelopmentChain
from .errors import HostNotLoopback
from .http import chain_app

FILE_NAME = "devchain.sqlite3"
SWITCH_INTERVAL_S = 0.0002


def loopback_socket(host: str, port: int) -> socket.socket:
    """A bound socket on this machine's loopback; raises HostNotLoopback. Port 0 takes a free one."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        parsed = ip_address(address)
    except ValueError:
        raise HostNotLoopback(host) from None
    if not parsed.is_loopback:
        raise HostNotLoopback(host)
    bound = socket.socket(socket.AF_INET6 if parsed.version == 6 else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address, port))
    return bound


class _Server(uvicorn.Server):
    """Says on stdout when it serves, and stops when its standard input ends, where it is told to."""

    def __init__(self, config: uvicorn.Config, url: str, parent_pipe: bool) -> None:
        super().__init__(config)
        self._url = url
        self._parent_pipe = parent_pipe

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if self._parent_pipe:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read_parent)
        sys.stdout.write(f"ready {self._url}\n")
        sys.stdout.flush()

    def _read_parent(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self.should_exit = True


def serve(host: str, port: int, folder: Path, parent_pipe: bool, chain_id: int) -> None:
    """Blocks until the end. Raises HostNotLoopback, GenesisMismatch or ChainFolderInUse before it serves."""
    bound = loopback_socket(host, port)
    port = bound.getsockname()[1]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    # The chain's thread never waits for anything: at the usual 5 ms a request would wait that long at each of its
    # system calls, and transactions would not come in time to share a block.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    chain = DevelopmentChain.open(folder / FILE_NAME, lambda: int(time.time()), chain_id)
    config = uvicorn.Config(chain_app(chain, url), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    # uvicorn stops at a signal and then raises it again for who had it before: being told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    _Server(config, url, parent_pipe).run(sockets=[bound])
