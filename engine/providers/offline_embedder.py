"""Offline embeddings and their tokenizer: a small model from a wheel, loaded when first used, with no network."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy


class Embedder:
    """wordllama's 256 dimensions. Safe to use from several threads."""

    def __init__(self) -> None:
        self._model: Any = None
        self._loading = threading.Lock()

    def embed(self, texts: Sequence[str]) -> numpy.ndarray:
        """One row of unit length for each text; a text without a single known token is a row of zeros."""
        import numpy

        rows: numpy.ndarray = self._loaded().embed(list(texts))
        lengths = numpy.linalg.norm(rows, axis=1, keepdims=True)
        unit: numpy.ndarray = numpy.nan_to_num(rows / numpy.maximum(lengths, 1e-12))
        return unit

    def count_tokens(self, text: str) -> int:
        return len(self._loaded().tokenizer.encode(text, add_special_tokens=False).ids)

    def cut(self, text: str, max_tokens: int) -> str:
        """The longest beginning of the text that is at most so many tokens."""
        encoded = self._loaded().tokenizer.encode(text, add_special_tokens=False)
        if len(encoded.ids) <= max_tokens:
            return text
        end = encoded.offsets[max_tokens - 1][1]
        while self.count_tokens(text[:end]) > max_tokens:
            end -= 1  # cut off from what follows, the same text can take more tokens
        return text[:end]

    def _loaded(self) -> Any:
        with self._loading:
            if self._model is None:
                self._model = _load()
        return self._model


def _load() -> Any:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import wordllama

    # Its import calls logging.basicConfig, which would make every library's info messages ours.
    root.handlers[:] = handlers
    root.setLevel(level)
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
