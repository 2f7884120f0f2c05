"""What a buyer asks for: whom to hire, for what, at most for how much, under which mandate. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentnode.hire.card_keys import read_pin
from ledger.errors import InvalidInput
from ledger.money import usd_nanos

DEFAULT_CATEGORY = "agent_hire"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MAX_MESSAGE = 200_000
_HALF = re.compile(r"[\ud800-\udfff]")
"""Of a surrogate pair: JSON can say it, and no A2A message carries it."""


@dataclass(frozen=True)
class ListedTerms:
    """What a listing promises, from its verified fields only; None promises nothing. `card_url` is where its seller is
    found: an agent's card, or the URL of an HTTP resource."""

    resource_id: str | None
    card_url: str
    skill: str | None = None
    price_usd_nanos: int | None = None
    pay_to: str | None = None
    network: str | None = None
    asset: str | None = None
    endpoint: str | None = None

    @classmethod
    def of(cls, listing: Mapping[str, Any]) -> ListedTerms:
        """From a listing as any Bazaar answers it (wire.md, Bazaar). Raises InvalidInput."""
        place = listing.get("agent_card_url") or listing.get("endpoint")
        if not isinstance(place, str):
            raise InvalidInput("listing", "has neither agent_card_url nor endpoint")
        price = listing.get("price_per_call_usd_exact", listing.get("price_per_call_usd"))
        return cls(
            resource_id=_text(listing, "id"),
            card_url=place,
            endpoint=_text(listing, "endpoint"),
            skill=_text(listing, "skill"),
            price_usd_nanos=None if price is None else usd_nanos(price, "listing.price_per_call_usd"),
            pay_to=_text(listing, "pay_to"),
            network=_text(listing, "network"),
            asset=_text(listing, "asset"),
        )


@dataclass(frozen=True)
class HttpWork:
    """A request to an HTTP resource; `url` is None where a listing names it, `json` is the body where there is one."""

    url: str | None
    method: str
    json: Any = None


@dataclass(frozen=True)
class HireRequest:
    """One piece of work to be had. One of `resource_id` (a listing here), `listing` (another Bazaar's answer),
    `agent_card_url` and `http.url` says from whom. `max_price_usd_nanos` may be absent where a listing has a price."""

    message: str
    resource_id: str | None = None
    listing: ListedTerms | None = None
    agent_card_url: str | None = None
    skill: str | None = None
    max_price_usd_nanos: int | None = None
    mandate_id: str | None = None
    category: str = DEFAULT_CATEGORY
    agent_did: str | None = None
    http: HttpWork | None = None
    card_key: Any = None
    """The key by which the card must be signed, a did:key or a JWK; None pins none."""
    key_id: str | None = None
    """The API key that asks, whose own day counts beside its tenant's."""

    @classmethod
    def parse(cls, body: Mapping[str, Any], key_id: str | None = None) -> HireRequest:
        """From the body of `POST /api/v2/bazaar/call`. Raises InvalidInput naming the field."""
        max_price = body.get("max_price", body.get("max_price_usd"))
        listing = body.get("listing")
        if listing is not None and not isinstance(listing, Mapping):
            raise InvalidInput("listing", "must be a listing as a Bazaar answers it")
        http = _http(body.get("http"))
        request = cls(
            message="" if http and "message" not in body else _message(body.get("message")),
            resource_id=_text(body, "resource_id"),
            listing=None if listing is None else ListedTerms.of(listing),
            agent_card_url=_text(body, "agent_card_url"),
            skill=_text(body, "skill"),
            max_price_usd_nanos=None if max_price is None else usd_nanos(max_price, "max_price"),
            mandate_id=_text(body, "mandate_id"),
            category=_text(body, "category") or DEFAULT_CATEGORY,
            agent_did=_text(body, "agent_did"),
            http=http,
            card_key=_card_key(body.get("card_key")),
            key_id=key_id,
        )
        named = [request.resource_id, request.listing, request.agent_card_url, http and http.url]
        if sum(name is not None for name in named) != 1:
            raise InvalidInput(
                "resource_id", "or listing, agent_card_url or http.url must say whom to hire, and only one of them"
            )
        if http and request.agent_card_url:
            raise InvalidInput("http", "goes with a listing or has a url; an agent is asked with a message")
        if http and request.card_key:
            raise InvalidInput("card_key", "is for an agent's card, and an HTTP resource has none")
        return request


def _message(value: Any) -> str:
    """A plain text, or an A2A message's text parts in any of its spellings."""
    if isinstance(value, Mapping):
        parts = value.get("parts")
        texts = [part.get("text") for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
        value = "\n".join(text for text in texts if isinstance(text, str))
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_MESSAGE or _HALF.search(value):
        raise InvalidInput("message", f"must be a text of 1 to {_MAX_MESSAGE} characters, or an A2A message with one")
    return value


def _http(value: Any) -> HttpWork | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidInput("http", "must be an object with url, method and json")
    method = value.get("method", "GET" if value.get("json") is None else "POST")
    if method not in _METHODS:
        raise InvalidInput("http.method", "must be one of " + ", ".join(_METHODS))
    return HttpWork(_text(value, "url"), method, _sendable(value.get("json")))


def _sendable(value: Any) -> Any:
    """What is read as JSON cannot always be written as such again."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise InvalidInput("http.json", "must be JSON: no NaN, no half of a surrogate pair, nested less deep") from None
    return value


def _card_key(value: Any) -> Any:
    """Checked here, so that a key that is none is refused before anybody is asked."""
    if value is None or value == "":
        return None
    read_pin(value, "card_key")
    return value


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 2_048 or not value.isprintable():
        raise InvalidInput(name, "must be a text of at most 2048 printable characters")
    return value
