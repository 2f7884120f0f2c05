"""Facilitators as the operator's file names them: `[[facilitators]]`, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnode.payments.facilitators.remote import RemoteFacilitator, Web
from agentnode.payments.facilitators.routes import Route
from agentnode.payments.networks import USDC
from ledger.errors import InvalidInput

_MEMBERS = frozenset(("url", "networks", "rpc_urls", "api_key_env"))


@dataclass(frozen=True)
class Configured:
    routes: list[Route]
    rpc_urls: dict[str, str]
    """The chains, beside the node's own, on which the words of facilitators are checked."""


def configured(
    tables: Sequence[Mapping[str, Any]], own_network: str, web: Web, environ: Mapping[str, str]
) -> Configured:
    """Without a table our own queue. Raises InvalidInput naming what is off.

    A network without a chain to check it on is refused: nothing is believed that cannot be checked.
    """
    routes: list[Route] = []
    rpc_urls: dict[str, str] = {}
    for number, table in enumerate(tables):
        where = f"facilitators[{number}]"
        unknown = set(table) - _MEMBERS
        if unknown:
            raise InvalidInput(f"{where}.{min(unknown)}", "is not a member of a facilitator")
        url = table.get("url")
        if url == "own":
            routes.append(Route((own_network,)))
            continue
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise InvalidInput(f"{where}.url", 'must be "own" or an http(s) URL')
        networks = table.get("networks", [own_network])
        rpcs = table.get("rpc_urls", {})
        if not isinstance(networks, list) or not networks or not isinstance(rpcs, dict):
            raise InvalidInput(f"{where}.networks", "must be a list of networks; rpc_urls a table of URLs by network")
        for network in networks:
            if network == own_network:
                continue
            if network not in rpcs:
                raise InvalidInput(f"{where}.rpc_urls", f"must name a JSON-RPC of {network}, to check on")
            if network not in USDC:
                raise InvalidInput(f"{where}.networks", f"{network} has no USDC known here; {', '.join(USDC)} have")
            rpc_urls.setdefault(network, str(rpcs[network]))
        key = environ.get(str(table.get("api_key_env", "")), "")
        routes.append(Route(tuple(networks), RemoteFacilitator(url.rstrip("/"), web, key)))
    return Configured(routes or [Route((own_network,))], rpc_urls)
