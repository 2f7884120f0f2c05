"""Which facilitator carries a settlement: in the operator's order, by network, who is well before who is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentnode.payments.facilitators.remote import RemoteFacilitator
from ledger.clock import SECOND_US, Clock

OWN = ""
"""How the journal names our own queue."""
_REST_US = 30 * SECOND_US


@dataclass(frozen=True)
class Route:
    """One carrier for these networks; without a `remote` our own queue."""

    networks: tuple[str, ...]
    remote: RemoteFacilitator | None = None

    @property
    def via(self) -> str:
        return self.remote.url if self.remote else OWN


class Routes:
    """What one process has seen of each. Who is not well is asked last, and not left out: it may be the only one."""

    def __init__(self, routes: Sequence[Route], clock: Clock) -> None:
        self._routes = routes
        self._clock = clock
        self._rests_until_us: dict[str, int] = {}
        self._kinds: dict[str, list[dict[str, Any]]] = {}

    def order(self, network: str) -> list[str]:
        """The carriers of a network, who should be asked first first."""
        usable = [route.via for route in self._routes if network in route.networks and self._supports(route, network)]
        now_us = self._clock.now_us()
        return sorted(usable, key=lambda via: self._rests_until_us.get(via, 0) > now_us)

    def after(self, network: str, tried: Sequence[str]) -> str | None:
        """The next for one that has not left; None where all were tried."""
        return next((via for via in self.order(network) if via not in tried), None)

    def remote(self, via: str) -> RemoteFacilitator | None:
        return next((route.remote for route in self._routes if route.remote and route.via == via), None)

    def seen(self, via: str, well: bool) -> None:
        if well:
            self._rests_until_us.pop(via, None)
        else:
            self._rests_until_us[via] = self._clock.now_us() + _REST_US

    async def refresh(self) -> None:
        """Ask each remote one what it supports; who does not answer rests."""
        for route in self._routes:
            if route.remote is not None:
                kinds = await route.remote.supported()
                self.seen(route.via, well=kinds is not None)
                if kinds is not None:
                    self._kinds[route.via] = kinds

    def kinds(self) -> list[dict[str, Any]]:
        """What all of them together settle, each network once."""
        networks = dict.fromkeys(network for route in self._routes for network in route.networks)
        return [
            {"x402Version": 2, "scheme": "exact", "network": network} for network in networks if self.order(network)
        ]

    def _supports(self, route: Route, network: str) -> bool:
        """Our own does; a remote one until it said otherwise."""
        told = self._kinds.get(route.via)
        return told is None or any(kind["network"] == network for kind in told)
