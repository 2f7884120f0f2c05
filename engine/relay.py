"""An upstream's stream on its way to the caller: what may be passed on, what is held back, what it comes to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.chunks import folded
from engine.completion import written_bytes
from engine.providers import Answer, Piece
from engine.usage import Usage


class Relay:
    """Holds back all before the first token, since until then another upstream may serve, and all from the finish on,
    since what the answer cost is told with its end."""

    def __init__(self, choices: int) -> None:
        self._unfinished = choices
        self._passing: list[Piece] = []
        self._ending: list[Piece] = []
        self._said: list[dict[str, Any]] = []
        self._usage: Usage | None = None
        self._stated: Any = None
        self.began = False
        """A token has come."""

    def read(self, pieces: Sequence[Piece]) -> int:
        """Takes what came together. How many bytes of it a model wrote."""
        size = 0
        for piece in pieces:
            if piece.usage is not None:
                self._usage, self._stated = piece.usage, piece.chunk.get("usage")
            if not piece.choices:
                continue
            for choice in piece.choices:
                size += written_bytes(choice["delta"])
                self._unfinished -= 1 if choice.get("finish_reason") else 0
            self._said += piece.choices
            (self._passing if self._unfinished > 0 else self._ending).append(piece)
        self.began = self.began or size > 0
        return size

    def ready(self) -> list[Piece]:
        """What may be passed on now."""
        if not self.began:
            return []
        ready, self._passing = self._passing, []
        return ready

    def rest(self) -> list[Piece]:
        """What was held back, once the stream is whole: one piece at least."""
        return self._passing + self._ending

    def answer(self) -> Answer:
        """The whole of it, as it would have come unstreamed."""
        return Answer(folded(self._ending[-1].chunk, self._said, self._stated), self._usage)
