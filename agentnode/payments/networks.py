"""The tokens a node can be paid in: Circle's where it is deployed, Tether's by setting, an embedded chain's own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from ledger.errors import InvalidInput
from ledger.money import NANOS_PER_USD, Asset
from trust.chain import ChainView
from trust.errors import CallReverted, ChainUnavailable
from trust.networks import BASE, BASE_SEPOLIA, EMBEDDED
from trust.tls import authorities

USDC = {
    BASE: Asset(BASE, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "2", 6, NANOS_PER_USD),
    BASE_SEPOLIA: Asset(BASE_SEPOLIA, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "2", 6, NANOS_PER_USD),
}
"""Circle's addresses; the embedded chain tells its own (`GET /devchain/info`)."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Assets(tuple[Asset, ...]):
    """What a node is paid in: the first by every scheme, the others as they can."""

    def at(self, network: str, address: str) -> Asset | None:
        """One address may be two tokens, on two chains."""
        named = (asset for asset in self if (asset.network, asset.address.lower()) == (network, address.lower()))
        return next(named, None)


async def usdc_of(network: str, rpc_url: str) -> Asset:
    """An embedded chain may be run under another's id (`agentnode devchain --chain-id`): what is on loopback is asked.

    Raises InvalidInput for a network without a known USDC, ChainUnavailable where the embedded chain is silent.
    """
    if network not in (EMBEDDED, *USDC):
        raise InvalidInput("network", f"has no USDC known here; there are {', '.join(USDC)} and {EMBEDDED}")
    told = await _told(rpc_url) if network == EMBEDDED or urlsplit(rpc_url).hostname in _LOOPBACK else None
    if told is not None:
        return Asset(network, told["address"], told["name"], told["version"], told["decimals"], NANOS_PER_USD)
    if network in USDC:
        return USDC[network]
    raise ChainUnavailable(f"the embedded chain at {rpc_url} does not say which token it has")


async def usdt_of(network: str, rpc_url: str, address: str) -> Asset | None:
    """USDT at the operator's address, or the embedded chain's own; None where there is neither.

    It has no authorisations, so no EIP-712 domain: the version is empty.
    """
    if not address and network == EMBEDDED:
        address = (await _told(rpc_url, "tokens") or {}).get("plain", {}).get("address", "")
    return Asset(network, address, "Tether USD", "", 6, NANOS_PER_USD) if address else None


async def check_decimals(chain: ChainView, asset: Asset) -> None:
    """Raises InvalidInput where the chain's token has other decimals: prices would be off by powers of ten."""
    try:
        seen = await chain.decimals(asset.address)
    except CallReverted:
        raise InvalidInput("network", f"has no token at {asset.address}, which is to be {asset.name}") from None
    if seen != asset.decimals:
        wanted = f"{asset.name} has {asset.decimals}"
        raise InvalidInput("network", f"has a token of {seen} decimals at {asset.address}; {wanted}")


async def _told(rpc_url: str, member: str = "usdc") -> dict[str, Any] | None:
    """What the chain says of its tokens; None where it says nothing, as any other chain."""
    try:
        async with httpx.AsyncClient(timeout=10, trust_env=False, verify=authorities()) as client:
            told: dict[str, Any] = (await client.get(f"{rpc_url.rstrip('/')}/info")).raise_for_status().json()[member]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    return told


async def gas_from_faucet(rpc_url: str, address: str) -> None:
    """Ether for a sending key on the embedded chain, where it costs nothing."""
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False, verify=authorities()) as client:
            answer = await client.post(f"{rpc_url.rstrip('/')}/faucet", json={"address": address, "usdc": "0"})
            answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ChainUnavailable(f"the faucet of the embedded chain at {rpc_url} gave no ether") from error
