"""LLM work on account: quote, complete, stream, with prices, bounds, holds and one event per upstream call."""

from __future__ import annotations

from engine.cache import Asked, Cache, CacheSettings, Hit, asked_of
from engine.catalog import OFFLINE, TIERS, Catalog, Compared, Model, compare, picks
from engine.completion import Account, Call, Chunk, Completion, Quote
from engine.engine import Engine
from engine.errors import ModelUnavailable, ModelUnknown, UpstreamError
from engine.models import Models
from engine.providers import Embedder, Provider, Providers, upstream_from_table, with_known
from engine.recording import record
from engine.request import CompletionRequest
from engine.upstream import Upstream, UpstreamModel
from engine.usage import Usage

__all__ = [
    "OFFLINE",
    "TIERS",
    "Account",
    "Asked",
    "Cache",
    "CacheSettings",
    "Call",
    "Catalog",
    "Chunk",
    "Compared",
    "Completion",
    "CompletionRequest",
    "Embedder",
    "Engine",
    "Hit",
    "Model",
    "ModelUnavailable",
    "ModelUnknown",
    "Models",
    "Provider",
    "Providers",
    "Quote",
    "Upstream",
    "UpstreamError",
    "UpstreamModel",
    "Usage",
    "asked_of",
    "compare",
    "picks",
    "record",
    "upstream_from_table",
    "with_known",
]
