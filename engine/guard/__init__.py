"""What stands before a call: the six layers, how much it can cost, and whether a count of its use can be true."""

from __future__ import annotations

from engine.guard.bounds import Bound, afforded, believable, bound, estimate, hidden_tokens, within
from engine.guard.guard import Guard
from engine.guard.layers import Verdicts

__all__ = [
    "Bound",
    "Guard",
    "Verdicts",
    "afforded",
    "believable",
    "bound",
    "estimate",
    "hidden_tokens",
    "within",
]
