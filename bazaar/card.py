"""What a stranger's agent card says of itself (pure): A2A 1.0 and 0.3, whatever else stands in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CardFacts:
    name: str
    description: str
    endpoints: tuple[str, ...]
    """JSON-RPC first, as buyers ask for it first"""
    skills: tuple[str, ...]
    tags: tuple[str, ...]


def facts(card: dict[str, Any]) -> CardFacts:
    """The fields of a card that a listing takes over; what is not of the form that A2A asks is left out."""
    interfaces = [
        (_text(entry.get("protocolBinding") or entry.get("transport")), _text(entry.get("url")))
        for entry in [*_objects(card.get("supportedInterfaces")), *_objects(card.get("additionalInterfaces"))]
    ]
    interfaces.append((_text(card.get("preferredTransport")) or "JSONRPC", _text(card.get("url"))))
    urls = [url for binding, url in sorted(interfaces, key=lambda pair: pair[0] != "JSONRPC") if url]
    skills = _objects(card.get("skills"))
    tags = [tag for skill in skills for tag in _texts(skill.get("tags"))]
    return CardFacts(
        name=_text(card.get("name")),
        description=_text(card.get("description")),
        endpoints=tuple(dict.fromkeys(urls)),
        skills=tuple(dict.fromkeys(filter(None, (_text(skill.get("id")) for skill in skills)))),
        tags=tuple(dict.fromkeys(tags)),
    )


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str) and entry] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
