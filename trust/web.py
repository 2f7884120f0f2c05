"""The one client for strangers' URLs: cards, listings, pushes, webhooks (not for the operator's own settings)."""

from __future__ import annotations

import asyncio
import json as json_codec
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from trust.addresses import AddressRules, parse_url
from trust.errors import FetchFailed
from trust.guarded_transport import GuardedTransport, Resolve, allowed_addresses, system_resolver
from trust.tls import authorities

_MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Reply:
    """A whole answer, of any status; `url` is the one that gave it, after redirects."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str

    def json(self) -> Any:
        """The body as JSON. Raises FetchFailed where it is none."""
        try:
            return json_codec.loads(self.body)
        except (ValueError, RecursionError):
            raise FetchFailed("the answer is not JSON") from None


class GuardedClient:
    """Reaches the public internet, and what the operator's `allow_nets` (CIDR) name; nothing else.

    Every address that a host resolves to must be allowed, at each connection, and the one connected to is one of those
    checked. `timeout_s` is for a whole exchange with its redirects. `resolve` looks a name up, `tls` is whom to trust.
    """

    def __init__(
        self,
        allow_nets: Sequence[str] = (),
        timeout_s: float = 10,
        max_bytes: int = 1_000_000,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = AddressRules(allow_nets)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._lookups = ThreadPoolExecutor(4, thread_name_prefix="strangers-names")
        self._resolve = resolve or system_resolver(self._lookups)
        self._tls = tls or authorities()
        self._transport = self.transport(total_s=timeout_s, max_bytes=max_bytes)

    def transport(self, *, total_s: float = 600, max_bytes: int = 16_000_000) -> GuardedTransport:
        """The same guard for an httpx.AsyncClient, streams included; whoever asks closes it."""
        return GuardedTransport(self._rules, self._resolve, max_bytes=max_bytes, total_s=total_s, tls=self._tls)

    async def check(self, url: str) -> None:
        """Whether the URL may be called now, without calling it: for refusing one when it is handed in.

        Raises AddressRefused, FetchFailed. It is checked again at every connection, since names move.
        """
        parsed = parse_url(url)
        async with _deadline(self._timeout_s):
            port = parsed.port or _PORTS[parsed.scheme]
            await allowed_addresses(parsed.raw_host.decode("ascii"), port, self._rules, self._resolve)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """As `request`, and follows up to three redirects, each checked like the first."""
        target = parse_url(url)
        async with _deadline(self._timeout_s):
            for _ in range(_MOST_REDIRECTS + 1):
                reply = await self._exchange(httpx.Request("GET", target, headers=headers))
                location = reply.headers.get("location")
                if reply.status not in _REDIRECTS or location is None:
                    return reply
                onward = parse_url(_joined(target, location))
                if (onward.scheme, onward.netloc) != (target.scheme, target.netloc):
                    headers = None  # what was meant for one host may be a secret from the next
                if (target.scheme, onward.scheme) == ("https", "http"):
                    raise FetchFailed("the answer redirects from https to http")
                target = onward
        raise FetchFailed(f"the answer redirects more than {_MOST_REDIRECTS} times")

    async def post(
        self,
        url: str,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        return await self.request("POST", url, json=json, content=content, headers=headers)

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One exchange; a redirect is an answer like another. Any status is a Reply.

        Raises AddressRefused (400) before anything is sent, FetchFailed (502) for silence, slowness and size.
        """
        request = httpx.Request(method, parse_url(url), json=json, content=content, headers=headers)
        async with _deadline(self._timeout_s):
            return await self._exchange(request)

    async def aclose(self) -> None:
        await self._transport.aclose()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _exchange(self, request: httpx.Request) -> Reply:
        # A quarter for each address tried, so that one that swallows packets leaves time for the next.
        request.extensions = {"timeout": {"connect": self._timeout_s / 4}}
        try:
            response = await self._transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            try:
                body = b"".join([piece async for piece in response.stream])
            finally:
                await response.stream.aclose()
        except httpx.TransportError as problem:
            raise FetchFailed(f"{request.url.host} did not answer ({type(problem).__name__})") from problem
        return Reply(response.status_code, response.headers, body, str(request.url))


@asynccontextmanager
async def _deadline(timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise FetchFailed(f"the answer took more than {timeout_s} s") from None


def _joined(base: httpx.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx.InvalidURL, ValueError):
        raise FetchFailed("the answer redirects to what is no URL") from None
