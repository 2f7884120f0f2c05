"""Who serves a request: filter and rank the models that could."""

from __future__ import annotations

from engine.routing.choose import Candidate, choose

__all__ = ["Candidate", "choose"]
