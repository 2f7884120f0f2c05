"""The offline provider: one honest model without a model, which extracts the most central sentences of a text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.catalog import Model
from engine.providers.offline_embedder import Embedder
from engine.providers.provider import Answer, Piece, Timing
from engine.request import CompletionRequest
from engine.usage import Usage
from ledger.clock import SECOND_US, Clock, SystemClock
from ledger.errors import InvalidInput
from ledger.ids import new_id

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

    def __init__(self, embedder: Embedder, clock: Clock | None = None) -> None:
        self._embedder = embedder
        self._clock = clock or SystemClock()

    async def complete(self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing) -> Answer:
        extract, usage = await asyncio.to_thread(self._answer, request, max_tokens)
        message = {"role": "assistant", "content": " ".join(extract.sentences), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(extract)}
        return Answer({**self._head(model, "chat.completion"), "choices": [choice]}, usage)

    async def stream(
        self, model: Model, request: CompletionRequest, max_tokens: int, timing: Timing
    ) -> AsyncGenerator[list[Piece], None]:
        extract, usage = await asyncio.to_thread(self._answer, request, max_tokens)
        head = self._head(model, "chat.completion.chunk")
        for index, sentence in enumerate(extract.sentences):
            delta = {"role": "assistant", "content": sentence} if index == 0 else {"content": f" {sentence}"}
            yield [Piece({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]})]
        finish = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": _finish(extract)}
        yield [Piece({**head, "choices": [finish]}, usage)]

    async def close(self) -> None:
        """It holds nothing that must be given back."""

    def _head(self, model: Model, kind: str) -> dict[str, Any]:
        created = self._clock.now_us() // SECOND_US
        return {"id": new_id("chatcmpl"), "object": kind, "created": created, "model": model.name}

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
