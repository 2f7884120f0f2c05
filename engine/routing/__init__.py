"""Who serves a request: filter and rank the models that could, and lead it from one attempt to the next."""

from __future__ import annotations

from engine.routing.breakers import Breakers
from engine.routing.candidate import Candidate
from engine.routing.exclusion import may_see
from engine.routing.failover import Wait
from engine.routing.ranking import Ranking
from engine.routing.router import Leg, Route, Router

__all__ = ["Breakers", "Candidate", "Leg", "Ranking", "Route", "Router", "Wait", "may_see"]
