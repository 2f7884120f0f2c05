"""Who makes vectors for the cache: the offline model, or whatever else keeps to the same protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from engine.cache.settings import SIMILARITY
from engine.catalog import Model

if TYPE_CHECKING:
    import numpy


class EmbedsHere(Protocol):
    """Texts to rows of unit length, at once and offline, the same for the same text in every process."""

    def embed(self, texts: Sequence[str]) -> numpy.ndarray: ...


class Embeds(Protocol):
    """Questions to vectors of unit length."""

    @property
    def space(self) -> str:
        """Names the model and its dimensions: only vectors of one space are compared."""

    @property
    def similarity(self) -> float:
        """The cosine in this space that two questions must reach at least, besides agreeing."""

    @property
    def model(self) -> Model | None:
        """Which model is shown the questions; None where they stay here."""

    async def vector(self, text: str) -> numpy.ndarray | None:
        """None where there is none to be had now, which is a miss."""

    async def close(self) -> None: ...


class Offline:
    """The model that needs no network, in a thread; its similarity is the one that docs/cache.md measures."""

    space = "offline/256"
    similarity = SIMILARITY
    model = None

    def __init__(self, embedder: EmbedsHere) -> None:
        self._embedder = embedder

    async def vector(self, text: str) -> numpy.ndarray | None:
        vectors = await asyncio.to_thread(self._embedder.embed, [text])
        vector: numpy.ndarray = vectors[0]
        return vector

    async def close(self) -> None:
        """It holds nothing that must be given back."""
