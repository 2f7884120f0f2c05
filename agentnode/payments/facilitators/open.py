"""The facilitator that others call: each network's own checks, all carriers' kinds in one list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentnode.payments.facilitators.local import LocalFacilitator
from agentnode.payments.facilitators.routes import Routes


class OpenFacilitator:
    """One LocalFacilitator a network; the node's own answers for what names none of them."""

    def __init__(self, own: LocalFacilitator, elsewhere: Mapping[str, LocalFacilitator], routes: Routes) -> None:
        self._own = own
        self._elsewhere = elsewhere
        self._routes = routes

    async def verify_request(self, body: Any) -> dict[str, Any]:
        return await self._of(body).verify_request(body)

    async def settle_request(self, body: Any) -> dict[str, Any]:
        return await self._of(body).settle_request(body)

    def supported(self) -> dict[str, Any]:
        return {**self._own.supported(), "kinds": self._routes.kinds()}

    def _of(self, body: Any) -> LocalFacilitator:
        asked = body.get("paymentRequirements") if isinstance(body, dict) else None
        network = asked.get("network") if isinstance(asked, dict) else None
        return self._elsewhere.get(network, self._own) if isinstance(network, str) else self._own
