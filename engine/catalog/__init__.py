"""Which models there are, what they cost, what they can do: lists and tables, the operator's own word over them."""

from __future__ import annotations

from engine.catalog.catalog import OFFLINE, Catalog
from engine.catalog.comparison import Compared, compare, picks
from engine.catalog.model import TIERS, Model
from engine.catalog.price import ModelPrice, TokenRate, bound_usd_nanos, cost_usd_nanos

__all__ = [
    "OFFLINE",
    "TIERS",
    "Catalog",
    "Compared",
    "Model",
    "ModelPrice",
    "TokenRate",
    "bound_usd_nanos",
    "compare",
    "cost_usd_nanos",
    "picks",
]
