"""Which models there are, and what they cost: prices from a library, the operator's own over them."""

from __future__ import annotations

from engine.catalog.catalog import OFFLINE, Catalog
from engine.catalog.models import Model
from engine.catalog.price import Price, Rate, bound_usd_nanos, cost_usd_nanos

__all__ = ["OFFLINE", "Catalog", "Model", "Price", "Rate", "bound_usd_nanos", "cost_usd_nanos"]
