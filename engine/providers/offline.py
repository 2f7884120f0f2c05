"""The offline provider: one honest model without a model, which extracts the most central sentences of a text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from engine.catalog import Model
from engine.providers.embedder import Embedder
from engine.providers.provider import Answer, Piece
from engine.request import CompletionRequest
from engine.usage import Usage
from ledger.errors import InvalidInput

SENTENCES = 3
"""How many a long text is answered with."""
MAX_SENTENCES_READ = 20_000
_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"'”’)\]])\s+|(?<=[。！？])|\s*\n\s*")


@dataclass(frozen=True)
class Extract:
    """Sentences of the text in their order, each as it stands there; `cut` if not even the first one fitted."""

    sentences: list[str]
    cut: bool = False


class OfflineProvider:
    """`offline/extract`. It knows nothing that is not in the text, and the same text has always the same answer.

    It reads what the users said, not the system's messages. Tokens are counted by its own tokenizer.
    """

    name = "offline"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def complete(self, model: Model, request: CompletionRequest, max_tokens: int) -> Answer:
        extract, usage = await asyncio.to_thread(self._answer, request, max_tokens)
        message = {"role": "assistant", "content": " ".join(extract.sentences)}
        return Answer([{"index": 0, "message": message, "finish_reason": _finish(extract)}], usage)

    async def stream(self, model: Model, request: CompletionRequest, max_tokens: int) -> AsyncGenerator[Piece, None]:
        extract, usage = await asyncio.to_thread(self._answer, request, max_tokens)
        for index, sentence in enumerate(extract.sentences):
            text = sentence if index == 0 else f" {sentence}"
            yield Piece([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}])
        yield Piece([{"index": 0, "delta": {}, "finish_reason": _finish(extract)}], usage)

    async def close(self) -> None:
        """It holds nothing that must be given back."""

    def _answer(self, request: CompletionRequest, max_tokens: int) -> tuple[Extract, Usage]:
        if request.choices > 1:
            raise InvalidInput("n", "must be 1 for offline/extract, which has only one answer")
        said = [text for message, text in zip(request.messages, request.texts, strict=True) if _is_users(message)]
        sentences = split("\n".join(said))
        if not sentences:
            raise InvalidInput("messages", "hold no text that offline/extract could take sentences from")
        extract = self._extract(sentences, max_tokens)
        read = sum(self._embedder.count_tokens(text) for text in request.texts if text)
        return extract, Usage(input_tokens=read, output_tokens=self._embedder.count_tokens(" ".join(extract.sentences)))

    def _extract(self, sentences: Sequence[str], max_tokens: int) -> Extract:
        chosen: list[int] = []
        for index in self._by_centrality(sentences):
            tried = sorted([*chosen, index])
            if self._embedder.count_tokens(" ".join(sentences[place] for place in tried)) <= max_tokens:
                chosen = tried
            elif not chosen:
                return Extract([self._embedder.cut(sentences[index], max_tokens)], cut=True)
            if len(chosen) == SENTENCES:
                break
        return Extract([sentences[place] for place in chosen])

    def _by_centrality(self, sentences: Sequence[str]) -> list[int]:
        """Places of sentences, the most central first: by mean similarity to all the others, ties by place."""
        unit = self._embedder.embed(sentences)
        similarity = unit @ unit.mean(axis=0)
        # Rounded, so that the order does not hang on how a machine's vector unit adds.
        return sorted(range(len(sentences)), key=lambda place: (-round(float(similarity[place]), 4), place))


def split(text: str) -> list[str]:
    """The distinct sentences of a text in their order, each a piece of it: ended by a full stop or a line's end."""
    found = (part.strip() for part in _END.split(text))
    return list(dict.fromkeys(part for part in found if part))[:MAX_SENTENCES_READ]


def _is_users(message: dict[str, object]) -> bool:
    return message["role"] == "user"


def _finish(extract: Extract) -> str:
    return "length" if extract.cut else "stop"
