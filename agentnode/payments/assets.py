"""Which token pays on a network: Circle's where it is deployed, the embedded chain's own where it says so."""

from __future__ import annotations

import httpx

from agentnode.payments.networks import EMBEDDED, USDC
from ledger.errors import InvalidInput
from ledger.money import Asset
from trust.errors import ChainUnavailable


async def usdc_of(network: str, rpc_url: str) -> Asset:
    """Raises InvalidInput for a network without a known USDC, ChainUnavailable where the embedded chain is silent."""
    if network in USDC:
        return USDC[network]
    if network != EMBEDDED:
        raise InvalidInput("network", f"has no USDC known here; there are {', '.join(USDC)} and {EMBEDDED}")
    try:
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            told = (await client.get(f"{rpc_url.rstrip('/')}/info")).raise_for_status().json()["usdc"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise ChainUnavailable(f"the embedded chain at {rpc_url} does not say which token it has") from error
    return Asset(network, told["address"], told["name"], told["version"], told["decimals"])


async def gas_from_faucet(rpc_url: str, address: str) -> None:
    """Ether for a sending key on the embedded chain, where it costs nothing."""
    try:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            answer = await client.post(f"{rpc_url.rstrip('/')}/faucet", json={"address": address, "usdc": "0"})
            answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ChainUnavailable(f"the faucet of the embedded chain at {rpc_url} gave no ether") from error
