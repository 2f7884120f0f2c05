"""Another facilitator by its URL: told to settle, asked what it supports. Its word is not the chain's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from agentnode.payments.facilitators.words import Word, kinds_of, settle_word
from trust.errors import AddressRefused, FetchFailed
from trust.web import Reply


class Web(Protocol):
    """trust.web.GuardedClient, as far as it is needed here."""

    async def request(self, method: str, url: str, *, json: Any = None, headers: Any = None) -> Reply: ...


@dataclass(frozen=True)
class RemoteFacilitator:
    url: str
    web: Web
    key: str = ""
    """Sent as a bearer token."""

    async def settle(self, handed: dict[str, Any]) -> Word:
        """Never raises for what the facilitator does: a word that was not heard is `unknown`."""
        try:
            reply = await self.web.request("POST", f"{self.url}/settle", json=handed, headers=self._headers())
        except AddressRefused as refused:
            return Word("unreached", reason=refused.message)
        except FetchFailed as silence:
            never_sent = isinstance(silence.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
            return Word("unreached" if never_sent else "unknown", reason=silence.message)
        return settle_word(reply.status, reply.body)

    async def supported(self) -> list[dict[str, Any]] | None:
        """The kinds we can use; None where it does not answer. Where it redirects to is not the operator's word."""
        try:
            reply = await self.web.request("GET", f"{self.url}/supported", headers=self._headers())
        except (AddressRefused, FetchFailed):
            return None
        return kinds_of(reply.body) if reply.status == 200 else None

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}
