"""Who serves a request: filter and rank the models that could."""

from __future__ import annotations

from engine.routing.candidate import Candidate, Needs, needs_of
from engine.routing.choose import choose
from engine.routing.exclusion import Excluded, ModelPolicy
from engine.routing.measures import Measured, Measures
from engine.routing.ranking import Ranking, rank
from engine.routing.scoring import Scored

__all__ = [
    "Candidate",
    "Excluded",
    "Measured",
    "Measures",
    "ModelPolicy",
    "Needs",
    "Ranking",
    "Scored",
    "choose",
    "needs_of",
    "rank",
]
