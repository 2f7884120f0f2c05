"""Selling: an existing HTTP API behind a price, routes of an ASGI application, a function as a skill."""

from agentnode.sell.functions import PricedFunction, skill, skills_in
from agentnode.sell.middleware import PaidRoutes
from agentnode.sell.wraps import Wrapped, wrap_from_table

__all__ = ["PaidRoutes", "PricedFunction", "Wrapped", "skill", "skills_in", "wrap_from_table"]
