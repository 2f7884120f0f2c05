"""Who serves a request: filter and rank the models that could, and lead it from one attempt to the next."""

from __future__ import annotations

from engine.routing.breaker import State
from engine.routing.breakers import Breakers
from engine.routing.candidate import Candidate, Needs, needs_of
from engine.routing.exclusion import Excluded, ModelPolicy, may_see
from engine.routing.failover import Attempt, Wait
from engine.routing.measures import Measured, Measures
from engine.routing.ranking import Ranking, rank
from engine.routing.router import Leg, Route, Router
from engine.routing.scoring import Scored

__all__ = [
    "Attempt",
    "Breakers",
    "Candidate",
    "Excluded",
    "Leg",
    "Measured",
    "Measures",
    "ModelPolicy",
    "Needs",
    "Ranking",
    "Route",
    "Router",
    "Scored",
    "State",
    "Wait",
    "may_see",
    "needs_of",
    "rank",
]
