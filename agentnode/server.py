"""uvicorn's server, which says when it serves, and drains at its stop so that no request is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Iterator

import uvicorn

_DRAIN_S = 20.0
_LINGER_S = 2.0
"""A connection that is idle at the stop is kept for so long: a request may be on its way on it."""
_SHAKES_HANDS_S = 0.01
"""Connections that are just being made come to the queue of those to accept."""
_ATTACH_FILTER = 26
_DROPS_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
"""For socket(7)'s SO_ATTACH_FILTER: load the flags of TCP, and drop the segment where SYN is among them."""


class Server(uvicorn.Server):
    """Says when it serves, and drains so that no request is lost that was on its way. Signals are the process's own to
    handle: uvicorn would raise them again after its stop."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], alone: bool) -> None:
        """`alone`: nobody else accepts at its sockets."""
        super().__init__(config)
        self._ready, self._alone = ready, alone

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's, after a drain: it resets connections whose turn to be accepted had not come, and closes those
        that are idle, whatever is on its way on them."""
        self.server_state.default_headers.append((b"connection", b"close"))
        listening = [one.dup() for one in sockets or ()]
        for server in self.servers:
            server.close()
        if self._alone:
            for one in listening:
                accept_no_more(one)
            await asyncio.sleep(_SHAKES_HANDS_S)
        waiting = [connection for one in listening for connection in _last_of(one)]
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._quiet()
        await super().shutdown(sockets)

    async def _quiet(self) -> None:
        """Until nothing is at work and nothing has come for the linger, or nobody is left."""
        loop, state = asyncio.get_running_loop(), self.server_state
        since, seen = loop.time(), state.total_requests
        while state.connections and loop.time() - since < _LINGER_S:
            await asyncio.sleep(_LINGER_S / 20)
            if state.tasks or state.total_requests != seen:
                since, seen = loop.time(), state.total_requests

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


def accept_no_more(listening: socket.socket) -> None:
    """Who would connect from now on is not answered, and is refused when the socket is closed. Without this whoever
    connects between the last that was accepted and the close is reset. It holds for all who share the socket."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROPS_SYN))
    listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(program)))


def _last_of(listening: socket.socket) -> list[socket.socket]:
    """Closes the socket; what was connected to it and not accepted yet."""
    listening.setblocking(False)
    last: list[socket.socket] = []
    with listening, contextlib.suppress(OSError):
        while True:
            last.append(listening.accept()[0])
    return last
