"""LLM work on account: quote, complete, stream, with prices, bounds, holds and one event per upstream call."""

from __future__ import annotations

from engine.assembly import Fulfilment, open_engine
from engine.attribution import attribution_of
from engine.cache import Asked, Cache, CacheSettings, asked_of
from engine.catalog import (
    OFFLINE,
    TIERS,
    Catalog,
    Compared,
    Model,
    ModelPrice,
    TokenRate,
    compare,
    cost_usd_nanos,
    picks,
)
from engine.chunks import as_chunks
from engine.completion import Attempt, Call, Chunk, Completion, Quote
from engine.engine import Engine
from engine.errors import (
    FundsInsufficient,
    ModelUnavailable,
    ModelUnknown,
    SessionBudgetExceeded,
    UpstreamBusy,
    UpstreamError,
)
from engine.models import Models
from engine.options import Options, options_of
from engine.providers import Embedder, Providers, embeddings_from_table, upstream_from_table, with_known
from engine.recording import record
from engine.request import CompletionRequest
from engine.upstream import Upstream, UpstreamModel
from engine.upstream_vectors import UpstreamVectors
from engine.usage import Usage

__all__ = [
    "OFFLINE",
    "TIERS",
    "Asked",
    "Attempt",
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
    "Fulfilment",
    "FundsInsufficient",
    "Model",
    "ModelPrice",
    "ModelUnavailable",
    "ModelUnknown",
    "Models",
    "Options",
    "Providers",
    "Quote",
    "SessionBudgetExceeded",
    "TokenRate",
    "Upstream",
    "UpstreamBusy",
    "UpstreamError",
    "UpstreamModel",
    "UpstreamVectors",
    "Usage",
    "as_chunks",
    "asked_of",
    "attribution_of",
    "compare",
    "cost_usd_nanos",
    "embeddings_from_table",
    "open_engine",
    "options_of",
    "picks",
    "record",
    "upstream_from_table",
    "with_known",
]
