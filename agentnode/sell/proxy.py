"""Somebody's HTTP API as an ASGI application: each request is passed on, and its answer comes back as it is.

The address is the operator's, and no request can leave it: only path and query are the caller's. The caller's own
credentials stay here, the seller's are put in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from agentnode.sell.errors import ApiUnreachable
from ledger.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 10.0
QUIET_TIMEOUT_S = 300.0

Header = tuple[bytes, bytes]

_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Of one connection only (RFC 9110, 7.6.1)."""
_CALLERS_OWN = frozenset({b"host", b"authorization", b"cookie", b"content-length", b"sign-in-with-x"})
_PAYMENT = re.compile(rb"payment-.*|x-payment(-.*)?|x-402-.*|x-p402-.*")
_PROXYS = re.compile(rb"forwarded|x-forwarded(-.*)?|x-real-ip|x-original-ur[il]|x-rewrite-url")
"""By which an API behind a proxy knows where a request comes from, and to which path: no caller's to say."""
_PLAIN_PATH = re.compile(rb"/[\x21-\x7e]*")


class ApiProxy:
    """`headers` are the seller's own, put into each request in the place of the caller's of that name."""

    def __init__(
        self, url: str, headers: Mapping[str, str], prefix: str = "", quiet_timeout_s: float = QUIET_TIMEOUT_S
    ) -> None:
        """`prefix` is what comes before the API's own paths here. Raises InvalidInput for a URL that is no base."""
        self._base = checked_base(url)
        self._prefix = prefix.encode()
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._quiet_timeout_s = quiet_timeout_s
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ApiUnreachable where nothing came of it; what breaks off later breaks off here too."""
        import httpx

        headers, body = forwarded(scope["headers"], self._headers), await Request(scope, receive).body()
        request = httpx.Request(scope["method"], self.target(scope), headers=headers, content=body)
        try:
            answer = await self._opened().send(request, stream=True)
        except httpx.HTTPError as error:
            raise ApiUnreachable(f"the wrapped API does not answer ({type(error).__name__})") from error
        try:
            if answer.status_code == 402:
                raise ApiUnreachable("the wrapped API wants to be paid by its seller; nothing was charged")
            head = returned(answer.headers.raw)
            await send({"type": "http.response.start", "status": answer.status_code, "headers": head})
            async for part in answer.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            await answer.aclose()
        await send({"type": "http.response.body", "body": b""})

    def target(self, scope: Scope) -> httpx.URL:
        """Raises NotFound for a path that would lead elsewhere."""
        path = scope["raw_path"].removeprefix(self._prefix) or b"/"
        return self._base.copy_with(raw_path=target_of(self._base.raw_path, path, scope["query_string"]))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _opened(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            timeout = httpx.Timeout(self._quiet_timeout_s, connect=CONNECT_TIMEOUT_S, pool=None)
            limits = httpx.Limits(max_connections=None)
            self._client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False, follow_redirects=False)
        return self._client


def checked_base(url: str) -> httpx.URL:
    import httpx

    try:
        base = httpx.URL(url)
    except httpx.InvalidURL:
        base = httpx.URL("")
    if base.scheme not in ("http", "https") or not base.host or base.query or base.fragment or base.userinfo:
        raise InvalidInput("url", "must be an http or https URL without user, query and fragment")
    return base


def target_of(base_path: bytes, path: bytes, query: bytes) -> bytes:
    """Path and query as they go out, below the base's path. Raises NotFound for what would lead elsewhere."""
    meant = path
    for _ in range(4):  # %252e and the like: whoever decodes twice shall not be led out either
        if any(part in (b"..", b".") for part in re.split(rb"[/\\]", meant)) or b"\\" in meant or b"//" in meant[:2]:
            raise NotFound("there is nothing at this path")
        meant = unquote(meant.decode("ascii", "replace")).encode()
    if not _PLAIN_PATH.fullmatch(path) or b"?" in path or b"#" in path:
        raise NotFound("there is nothing at this path")
    return base_path.rstrip(b"/") + path + (b"?" + query if query else b"")


def forwarded(headers: Iterable[Header], own: Iterable[Header]) -> list[Header]:
    """What goes to the API: the caller's headers but for those of the connection, of its credentials, of payment and
    of a proxy, and the seller's own. `X_Api_Key` is `X-Api-Key` to many an API."""
    given, own = list(headers), list(own)
    dropped = _HOP_BY_HOP | _CALLERS_OWN | _named_by_connection(given) | {name for name, _ in own}

    def passes(name: bytes) -> bool:
        return name not in dropped and not _PAYMENT.fullmatch(name) and not _PROXYS.fullmatch(name)

    kept = [(name, value) for name, value in given if passes(name) and passes(name.replace(b"_", b"-"))]
    if not any(name == b"accept-encoding" for name, _ in kept):
        kept.append((b"accept-encoding", b"identity"))
    return kept + own


def returned(headers: Iterable[Header]) -> list[Header]:
    """What comes back: all but what is of the connection only, and what would look like our own word on a payment."""
    given = [(name.lower(), value) for name, value in headers]
    dropped = _HOP_BY_HOP | _named_by_connection(given)
    return [(name, value) for name, value in given if name not in dropped and not _PAYMENT.fullmatch(name)]


def _named_by_connection(headers: Iterable[Header]) -> set[bytes]:
    return {named.strip().lower() for name, value in headers if name == b"connection" for named in value.split(b",")}
