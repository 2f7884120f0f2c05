"""What makes a listing listable (pure): a body and its card in, one check per rule and a draft out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from bazaar.card import CardFacts
from ledger.errors import InvalidInput
from ledger.money import usd_nanos

TYPES = ("agent", "service", "skill", "workflow")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NETWORK = re.compile(r"eip155:[1-9][0-9]{0,19}")
_LABEL = re.compile(r"[a-z0-9][a-z0-9._:/+-]{0,63}")
_SEEN_LENGTH = 80


@dataclass(frozen=True)
class Check:
    """One rule, held against what was seen."""

    rule: str
    ok: bool
    severity: Literal["error", "warning"]
    field: str
    seen: str

    @property
    def refuses(self) -> bool:
        return not self.ok and self.severity == "error"

    def as_dict(self) -> dict[str, Any]:
        return {"rule": self.rule, "ok": self.ok, "severity": self.severity, "field": self.field, "seen": self.seen}


@dataclass(frozen=True)
class Draft:
    """A listing's content, checked and in the form in which it is kept."""

    type: str
    name: str
    description: str
    endpoint: str
    agent_card_url: str | None
    skill: str
    price_per_call_usd_nanos: int
    currency: str
    capabilities: list[str]
    tags: list[str]
    pay_to: str | None
    network: str | None
    asset: str | None


_FIELDS = frozenset(name for name in Draft.__dataclass_fields__ if name != "price_per_call_usd_nanos") | {
    "price_per_call_usd"
}


@dataclass
class _Examination:
    checks: list[Check] = field(default_factory=list)

    def hold(self, rule: str, ok: bool, name: str, seen: Any, severity: Literal["error", "warning"] = "error") -> bool:
        self.checks.append(Check(rule, ok, severity, shown(name), shown(seen)))
        return ok

    @property
    def passed(self) -> bool:
        return not any(check.refuses for check in self.checks)


def card_url(body: dict[str, Any]) -> tuple[str | None, list[Check]]:
    """The card's URL where the body has one that may be fetched, with the checks of its form."""
    examination = _Examination()
    url = body.get("agent_card_url")
    if url is None or not _is_url(examination, "agent_card_url", url):
        return None, examination.checks
    return str(url).strip(), examination.checks


def examine(body: dict[str, Any], card: CardFacts | None) -> tuple[list[Check], Draft | None]:
    """Every rule of a listing, and the draft where none refuses.

    `card` is what the card at `agent_card_url` says; the body's own fields go before it. Price and payee are taken
    from their own fields only, whatever any text says.
    """
    on = _Examination()
    named = card or CardFacts("", "", (), (), ())
    kind = body.get("type", "agent" if body.get("agent_card_url") else "service")
    on.hold("type_known", kind in TYPES, "type", kind)
    endpoint = _endpoint(on, body, card)
    name = _text(on, "name", body.get("name", named.name), longest=120, required=True)
    description = _text(on, "description", body.get("description", named.description), longest=2_000, required=False)
    skill = _skill(on, body, card)
    price = _price(on, body)
    currency = body.get("currency", "USD")
    on.hold("currency_is_usd", currency == "USD", "currency", currency)
    pay_to = _payee(on, body, price)
    network = _matching(on, "network_is_caip2", "network", body, _NETWORK)
    asset = _matching(on, "asset_is_address", "asset", body, _ADDRESS, str.lower)
    capabilities = _labels(on, "capabilities", body, [skill] if skill else list(named.skills))
    tags = _labels(on, "tags", body, list(named.tags))
    unknown = sorted(str(key) for key in body.keys() - _FIELDS)
    on.hold("fields_known", not unknown, unknown[0] if unknown else "body", unknown, "warning")
    if not on.passed:
        return on.checks, None
    url = body.get("agent_card_url")
    return on.checks, Draft(
        type=kind,
        name=name,
        description=description,
        endpoint=endpoint,
        agent_card_url=str(url).strip() if url else None,
        skill=skill,
        price_per_call_usd_nanos=price,
        currency=currency,
        capabilities=capabilities,
        tags=tags,
        pay_to=pay_to,
        network=network,
        asset=asset,
    )


def shown(value: Any) -> str:
    """What was seen, bounded and on one line, so that it can stand in an answer."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return text if len(text) <= _SEEN_LENGTH else text[: _SEEN_LENGTH - 1] + "…"


def _endpoint(on: _Examination, body: dict[str, Any], card: CardFacts | None) -> str:
    endpoint = body.get("endpoint")
    if endpoint is None:
        endpoint = card.endpoints[0] if card and card.endpoints else None
        if not on.hold("endpoint_given", endpoint is not None, "endpoint", "neither endpoint nor card names one"):
            return ""
    if not _is_url(on, "endpoint", endpoint):
        return ""
    place = str(endpoint).strip()
    if card is not None:
        on.hold("endpoint_in_card", place in card.endpoints, "endpoint", endpoint)
    return place


def _is_url(on: _Examination, name: str, value: Any) -> bool:
    """A URL's form only: where it leads is decided by the guarded client when it connects."""
    if not on.hold("url_is_text", isinstance(value, str) and len(value) <= 2_048, name, value):
        return False
    text = value.strip()
    try:
        parts = urlsplit(text)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    plain = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    if not on.hold("url_is_http", well_formed and plain, name, value):
        return False
    clean = parts.username is None and parts.password is None and not parts.fragment
    return on.hold("url_has_no_userinfo_or_fragment", clean, name, value)


def _text(on: _Examination, name: str, value: Any, *, longest: int, required: bool) -> str:
    if not on.hold(f"{name}_is_text", isinstance(value, str), name, value):
        return ""
    text = unicodedata.normalize("NFC", value).strip()
    if required:
        on.hold(f"{name}_given", bool(text), name, value)
    on.hold(f"{name}_length", len(text) <= longest, name, f"{len(text)} characters, at most {longest}")
    # Control and format characters (bidirectional overrides among them) make a text look like another.
    hidden = [hex(ord(c)) for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c not in "\n\t"]
    on.hold(f"{name}_has_no_hidden_characters", not hidden, name, hidden)
    return text


def _skill(on: _Examination, body: dict[str, Any], card: CardFacts | None) -> str:
    skill = body.get("skill", "")
    if not on.hold("skill_is_text", isinstance(skill, str) and len(skill) <= 64, "skill", skill):
        return ""
    on.hold("skill_has_no_hidden_characters", skill.isprintable(), "skill", skill)
    if skill and card is not None:
        on.hold("skill_in_card", skill in card.skills, "skill", skill)
    return str(skill)


def _price(on: _Examination, body: dict[str, Any]) -> int:
    seen = body.get("price_per_call_usd")
    try:
        price = usd_nanos(seen, "price_per_call_usd")
    except InvalidInput as refusal:
        on.hold("price_is_usd", False, "price_per_call_usd", f"{shown(seen)}: {refusal}")
        return 0
    on.hold("price_is_usd", True, "price_per_call_usd", seen)
    return price


def _payee(on: _Examination, body: dict[str, Any], price: int) -> str | None:
    pay_to = body.get("pay_to")
    if pay_to is None:
        on.hold("payee_given_where_priced", price == 0, "pay_to", pay_to)
        return None
    valid = isinstance(pay_to, str) and _ADDRESS.fullmatch(pay_to) is not None and int(pay_to, 16) != 0
    on.hold("payee_is_address", valid, "pay_to", pay_to)
    return str(pay_to).lower()


def _matching(
    on: _Examination,
    rule: str,
    name: str,
    body: dict[str, Any],
    form: re.Pattern[str],
    kept: Callable[[str], str] = str,
) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    on.hold(rule, isinstance(value, str) and form.fullmatch(value) is not None, name, value)
    return kept(str(value))


def _labels(on: _Examination, name: str, body: dict[str, Any], otherwise: list[str]) -> list[str]:
    given = body.get(name)
    if given is None:
        labels = [label.lower().replace(" ", "-") for label in otherwise]
        return list(dict.fromkeys(label for label in labels if _LABEL.fullmatch(label)))[:32]
    if not on.hold(f"{name}_is_list", isinstance(given, list) and len(given) <= 32, name, given):
        return []
    odd = [label for label in given if not (isinstance(label, str) and _LABEL.fullmatch(label.lower()))]
    on.hold(f"{name}_are_labels", not odd, name, odd)
    return list(dict.fromkeys(str(label).lower() for label in given))
