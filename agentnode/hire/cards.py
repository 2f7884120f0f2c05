"""Agent cards at strangers' URLs, read through the guarded client: for hiring, and for publishing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from agentnode.hire.errors import SellerUnreachable
from trust.json_size import has_more_values
from trust.web import GuardedClient, Reply

_WELL_KNOWN = "/.well-known/agent-card.json"
_MOST_VALUES = 20_000


def card_location(url: str) -> str:
    """Where the card of an agent stands: the URL itself where it names a JSON file, else below its origin."""
    parts = urlsplit(url)
    if parts.path.endswith(".json"):
        return url
    return urlunsplit((parts.scheme, parts.netloc, _WELL_KNOWN, "", ""))


class AgentCards:
    """Satisfies `bazaar.CardReader`."""

    def __init__(self, web: GuardedClient) -> None:
        self._web = web

    async def read(self, url: str) -> dict[str, Any]:
        """The card as a JSON object. Raises AddressRefused, FetchFailed, SellerUnreachable."""
        reply = await self._web.get(card_location(url), headers={"Accept": "application/json", "A2A-Version": "1.0"})
        if reply.status != 200:
            raise SellerUnreachable(f"its card answers {reply.status}; is the URL right?")
        card = read_object(reply, "card")
        if has_more_values(card, _MOST_VALUES):
            raise SellerUnreachable(f"its card has more than {_MOST_VALUES} values")
        return card

    async def check(self, url: str) -> None:
        """Raises AddressRefused where the URL leads, or may lead, inside; FetchFailed where its name has no address."""
        await self._web.check(url)


def read_object(reply: Reply, what: str) -> dict[str, Any]:
    """Raises FetchFailed where a stranger's answer is no JSON, SellerUnreachable where it is no object."""
    value = reply.json()
    if not isinstance(value, dict):
        raise SellerUnreachable(f"its {what} is not a JSON object")
    return value
