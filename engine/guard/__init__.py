"""What stands before a call: how much it can cost at most, and whether a count of its use can be true."""

from __future__ import annotations

from engine.guard.bounds import Bound, believable, bound, estimate

__all__ = ["Bound", "believable", "bound", "estimate"]
