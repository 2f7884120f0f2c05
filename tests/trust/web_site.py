"""A stranger's web server, as ill-behaved as a test asks: raw bytes by path, on any loopback address."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Site:
    """`answers` are what goes out for a path, as it stands; `asked` are the requests' heads and bodies that came in."""

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    stalls: set[str] = field(default_factory=set)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(lines.get("content-length", 0)))
                self.asked.append(head + body.decode())
                path = head.split(" ")[1]
                writer.write(self.answers.get(path, ok(b"hello")))
                await writer.drain()
                if path in self.stalls:
                    await reader.read()
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return ok(b"", f"Location: {location}", status=status)


@asynccontextmanager
async def site(host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    here = Site()
    server = await asyncio.start_server(here.serve, host, port, ssl=tls)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
