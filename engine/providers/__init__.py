"""Who serves completions: an adapter for each API, the table of upstreams, and the provider that needs no network."""

from __future__ import annotations

from engine.providers.anthropic import Anthropic
from engine.providers.offline import OfflineProvider
from engine.providers.offline_embedder import Embedder
from engine.providers.openai_compatible import OpenAICompatible
from engine.providers.openai_embeddings import Embedded, Embeddings
from engine.providers.provider import PATIENT, Answer, Piece, Provider, Timing, UpstreamProvider
from engine.providers.providers import Providers
from engine.providers.upstream_tables import embeddings_from_table, upstream_from_table
from engine.providers.upstreams import KNOWN, with_known

__all__ = [
    "KNOWN",
    "PATIENT",
    "Answer",
    "Anthropic",
    "Embedded",
    "Embedder",
    "Embeddings",
    "OfflineProvider",
    "OpenAICompatible",
    "Piece",
    "Provider",
    "Providers",
    "Timing",
    "UpstreamProvider",
    "embeddings_from_table",
    "upstream_from_table",
    "with_known",
]
