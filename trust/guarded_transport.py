"""An httpx transport that connects where the rules allow, to the address that was checked, and takes only so much."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager

import httpcore
import httpx

from trust.addresses import Address, AddressRules, check_form, literal
from trust.errors import AddressRefused, FetchFailed
from trust.gunzip import Gunzip

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_MOST_ADDRESSES = 4


def system_resolver(executor: Executor) -> Resolve:
    """getaddrinfo in threads of its own: a stranger's slow name server must not take those that others wait for."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [str(address[0]) for *_, address in found]

        return await asyncio.get_running_loop().run_in_executor(executor, look_up)

    return resolve


async def allowed_addresses(host: str, port: int, rules: AddressRules, resolve: Resolve) -> list[Address]:
    """The addresses of a host, if every one is allowed: with one that is not, another look-up may choose it.

    Raises AddressRefused, which does not tell the address (our network may know the name to itself), and FetchFailed.
    """
    written = literal(host)
    if written is not None:
        addresses = [written]
    else:
        try:
            addresses = [ipaddress.ip_address(text) for text in await resolve(host, port)]
        except (OSError, UnicodeError, ValueError):
            raise FetchFailed(f"{host} has no address") from None
    if not addresses:
        raise FetchFailed(f"{host} has no address")
    if not all(rules.allows(address) for address in addresses):
        raise AddressRefused(f"{host} does not lead to the public internet")
    return list(dict.fromkeys(addresses))[:_MOST_ADDRESSES]


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the very address that was checked; TLS and the Host header still carry the name."""

    def __init__(self, rules: AddressRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in await allowed_addresses(host, port, self._rules, self._resolve):
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as problem:
                failure = problem
        assert failure is not None
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("a stranger's URL is not a socket of ours")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """For httpx.AsyncClient(transport=...), streaming too. Every hop of a redirect passes through it, and its checks.

    No environment proxy is used. At most `max_bytes` of a body, before and after decompression, within `total_s` from
    the request to the body's end; only gzip is taken. Raises AddressRefused and FetchFailed, and httpx's own errors for
    what happens on the wire.
    """

    def __init__(
        self,
        rules: AddressRules,
        resolve: Resolve,
        *,
        max_bytes: int,
        total_s: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._total_s = total_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpx.create_ssl_context(trust_env=False),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_CheckedNetwork(rules, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        check_form(request.url)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        deadline = asyncio.get_running_loop().time() + self._total_s
        call = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=_headers(request),
            content=request.stream,
            # Only the time-outs: other extensions could name another host to TLS, or hand out the socket.
            extensions={"timeout": request.extensions.get("timeout", {})},
        )
        with _translated():
            async with asyncio.timeout_at(deadline):
                answer = await self._pool.handle_async_request(call)
        try:
            headers, gunzip = _decoded(httpx.Headers(answer.headers))
        except FetchFailed:
            await answer.aclose()
            raise
        return httpx.Response(answer.status, headers=headers, stream=_Body(answer, gunzip, self._max_bytes, deadline))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response, gunzip: Gunzip | None, max_bytes: int, deadline: float) -> None:
        self._answer = answer
        self._gunzip = gunzip
        self._max_bytes = max_bytes
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = given = 0
        chunks = aiter(self._answer.aiter_stream())
        while True:
            with _translated():
                async with asyncio.timeout_at(self._deadline):
                    chunk = await anext(chunks, None)
            if chunk is None:
                break
            taken += len(chunk)
            self._check(taken)
            for piece in self._gunzip.feed(chunk) if self._gunzip else (chunk,):
                given += len(piece)
                self._check(given)
                yield piece
        if self._gunzip:
            self._gunzip.finish()

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise FetchFailed(f"the answer has more than {self._max_bytes} bytes")

    async def aclose(self) -> None:
        await self._answer.aclose()


def _headers(request: httpx.Request) -> list[tuple[bytes, bytes]]:
    """The caller's, with the Host of the URL that was checked, and no encoding asked for but the one that is taken."""
    ours = {b"host", b"accept-encoding"}
    kept = [(name, value) for name, value in request.headers.raw if name.lower() not in ours]
    return [(b"Host", request.url.netloc), *kept, (b"Accept-Encoding", b"gzip")]


def _decoded(headers: httpx.Headers) -> tuple[httpx.Headers, Gunzip | None]:
    """The headers as they are once the body is unpacked, and what unpacks it."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return headers, None
    if encoding not in ("gzip", "x-gzip"):
        raise FetchFailed("the answer is in an encoding that was not asked for")
    for of_the_wire in ("content-encoding", "content-length"):
        headers.pop(of_the_wire, None)
    return headers, Gunzip()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise FetchFailed("the answer took too long") from None
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as problem:
        # httpx has an exception of the same name for each of these.
        translated: type[httpx.TransportError] = getattr(httpx, type(problem).__name__)
        raise translated(str(problem)) from problem
