"""Wrapped APIs as the operator's settings name them, and the routes at which they are sold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agentnode.payments import HttpGate, PaymentsAbsent, Rate, read_rate
from agentnode.sell.paid import Paid, RoutePrice
from agentnode.sell.proxy import QUIET_TIMEOUT_S, ApiProxy, checked_base
from ledger.errors import InvalidInput

PREFIX = "/wrapped"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_FIELDS = frozenset({"name", "url", "price_usd", "description", "headers", "headers_env", "quiet_timeout_s"})


@dataclass(frozen=True)
class Wrap:
    """An API and what each request to it costs. `headers` are the seller's own."""

    name: str
    url: str
    rate: Rate
    description: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    quiet_timeout_s: float = QUIET_TIMEOUT_S

    @property
    def path(self) -> str:
        return f"{PREFIX}/{self.name}"


def wrap_from_table(table: Mapping[str, Any], environment: Mapping[str, str]) -> Wrap:
    """A `[[wraps]]` table. `headers_env` names the environment's variables that hold values.

    Raises InvalidInput naming the field.
    """
    for unknown in table.keys() - _FIELDS:
        raise InvalidInput(f"wraps.{unknown}", "is not one of " + ", ".join(sorted(_FIELDS)))
    name, url = table.get("name"), table.get("url")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput("wraps.name", "must be 1 to 40 lower-case letters, digits and hyphens")
    if not isinstance(url, str):
        raise InvalidInput("wraps.url", "must be a text")
    checked_base(url)
    rate = read_rate(table.get("price_usd"), "wraps.price_usd")
    if not rate.usd_nanos:
        raise InvalidInput("wraps.price_usd", "must be above 0: what is free needs no wrap")
    headers = dict(_headers(table, "headers"))
    for header, variable in _headers(table, "headers_env").items():
        if variable not in environment:
            raise InvalidInput("wraps.headers_env", f"names {variable}, which the environment does not have")
        headers[header] = environment[variable]
    quiet_timeout_s = table.get("quiet_timeout_s", QUIET_TIMEOUT_S)
    if isinstance(quiet_timeout_s, bool) or not isinstance(quiet_timeout_s, int | float) or quiet_timeout_s <= 0:
        raise InvalidInput("wraps.quiet_timeout_s", "must be a number of seconds above 0")
    described = table.get("description", f"One request to {name}")
    if not isinstance(described, str) or len(described) > 500:
        raise InvalidInput("wraps.description", "must be a text of at most 500 characters")
    return Wrap(name, url, rate, described, headers, float(quiet_timeout_s))


class Wrapped:
    """The APIs, opened; `gate` is None on a node without a chain, which cannot be paid."""

    def __init__(self, wraps: Sequence[Wrap], gate: HttpGate | None, origin: str) -> None:
        self._apis = [(wrap, ApiProxy(wrap.url, wrap.headers, wrap.path, wrap.quiet_timeout_s)) for wrap in wraps]
        self._gate, self._origin = gate, origin

    def routes(self) -> list[Route]:
        found = []
        for wrap, api in self._apis:
            endpoint = _Closed() if self._gate is None else self._sold(wrap, api, self._gate)
            paths = (wrap.path, wrap.path + "/{rest:path}")
            found += [Route(path, endpoint, include_in_schema=False) for path in paths]
        return found

    async def close(self) -> None:
        for _, api in self._apis:
            await api.close()

    def _sold(self, wrap: Wrap, api: ApiProxy, gate: HttpGate) -> ASGIApp:
        price = RoutePrice(wrap.description, wrap.rate)

        def price_of(scope: Scope) -> RoutePrice:
            api.target(scope)  # what leads nowhere has no price
            return price

        return Paid(api, gate, price_of, self._origin)


class _Closed:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise PaymentsAbsent


def _headers(table: Mapping[str, Any], name: str) -> dict[str, str]:
    given = table.get(name, {})
    if not isinstance(given, Mapping):
        raise InvalidInput(f"wraps.{name}", "must be a table of headers")
    for header, value in given.items():
        if not _HEADER.fullmatch(header):
            raise InvalidInput(f"wraps.{name}", f"has {header[:40]!r}, which is no name of a header")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise InvalidInput(f"wraps.{name}.{header}", "must be printable ASCII")
    return dict(given)
