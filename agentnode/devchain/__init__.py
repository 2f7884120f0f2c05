"""The embedded EVM chain: always a process of its own (`python -m agentnode.devchain`), started through ChainChild."""

from __future__ import annotations

from .artifacts import Artifact, artifact
from .child import ChainChild
from .errors import ChainExtraMissing, ChainNotStarted
from .genesis import ACCOUNTS, CHAIN_ID, MULTICALL3, USDC

__all__ = [
    "ACCOUNTS",
    "CHAIN_ID",
    "MULTICALL3",
    "USDC",
    "Artifact",
    "ChainChild",
    "ChainExtraMissing",
    "ChainNotStarted",
    "artifact",
]
