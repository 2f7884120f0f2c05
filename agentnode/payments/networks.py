"""The chains and tokens a node can be configured for, and the names x402 version 1 gave them."""

from __future__ import annotations

from ledger.money import Asset

BASE = "eip155:8453"
BASE_SEPOLIA = "eip155:84532"
EMBEDDED = "eip155:31337"

USDC = {
    BASE: Asset(BASE, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "2", 6),
    BASE_SEPOLIA: Asset(BASE_SEPOLIA, "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "2", 6),
}
"""Circle's addresses; the embedded chain tells its own (`GET /devchain/info`)."""

_V1_NAMES = {BASE: "base", BASE_SEPOLIA: "base-sepolia", EMBEDDED: "base-sepolia"}
"""The reference client of version 1 knows no name for other chains, so the embedded one borrows a test net's."""


def chain_id_of(network: str) -> int:
    """31337 of `eip155:31337`."""
    return int(network.removeprefix("eip155:"))


def v1_name(network: str) -> str:
    return _V1_NAMES.get(network, network)
