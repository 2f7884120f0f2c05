"""The chains that are known by name, and how long each takes until what it says is sure."""

from __future__ import annotations

from dataclasses import dataclass

BASE = "eip155:8453"
BASE_SEPOLIA = "eip155:84532"
EMBEDDED = "eip155:31337"
"""Our own chain of `agentnode devchain`, whose money is test money."""


@dataclass(frozen=True)
class Network:
    id: str
    """CAIP-2, `eip155:8453`"""
    v1_name: str
    """Its name in x402 version 1; the id where that gave it none."""
    block_s: int
    confirmations: int
    """How many blocks deep what is not undone any more is taken to be."""
    final_after_s: int
    """So long after a block it is final."""

    @property
    def reorg_margin_s(self) -> int:
        """How long blocks that may be undone take."""
        return self.block_s * self.confirmations


def chain_id_of(network: str) -> int:
    """31337 of `eip155:31337`."""
    return int(network.removeprefix("eip155:"))


def network_of(network: str) -> Network:
    """What is known of it; of any other chain, Base's times."""
    return _KNOWN.get(network, Network(network, network, *_BASE_TIMES))


_BASE_TIMES = (2, 12, 1_800)
"""Base's blocks are final on Ethereum by then."""
_KNOWN = {
    BASE: Network(BASE, "base", *_BASE_TIMES),
    BASE_SEPOLIA: Network(BASE_SEPOLIA, "base-sepolia", *_BASE_TIMES),
    # The reference client of version 1 knows no name for other chains, so the embedded one borrows a test net's.
    EMBEDDED: Network(EMBEDDED, "base-sepolia", 1, 1, 1_800),
}
