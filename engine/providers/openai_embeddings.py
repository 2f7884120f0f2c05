"""The adapter for OpenAI's `/embeddings`: one text to one vector, with what the upstream counted for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import UpstreamGarbled
from engine.providers.provider import Timing
from engine.providers.upstream_http import UpstreamHTTP
from engine.providers.usage_shapes import usage_of
from engine.upstream import UpstreamEmbeddings
from engine.usage import Usage

if TYPE_CHECKING:
    import numpy

MAX_DIMENSIONS = 8_192


@dataclass(frozen=True)
class Embedded:
    """A vector of unit length; `usage` is None where no well-formed one came with it."""

    vector: numpy.ndarray
    usage: Usage | None


class Embeddings:
    """One model at one upstream."""

    def __init__(self, terms: UpstreamEmbeddings, api_key: str | None) -> None:
        self._terms = terms
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = UpstreamHTTP(terms.upstream.name, terms.upstream.base_url, headers, terms.timeout_s)

    async def embed(self, text: str) -> Embedded:
        """Raises UpstreamError leaves, one of them for a vector of other dimensions than were asked for."""
        terms = self._terms
        body: dict[str, Any] = {"model": terms.model, "input": [text], "encoding_format": "float"}
        if terms.dimensions is not None:
            body["dimensions"] = terms.dimensions
        answer = await self._http.whole("/embeddings", body, Timing(terms.timeout_s, terms.timeout_s))
        return Embedded(_vector_of(answer, terms.dimensions), _usage_of(answer))

    async def close(self) -> None:
        await self._http.close()


def _vector_of(answer: Any, dimensions: int | None) -> numpy.ndarray:
    import numpy

    rows = answer.get("data") if isinstance(answer, dict) else None
    row = rows[0] if isinstance(rows, list) and len(rows) == 1 else None
    numbers = row.get("embedding") if isinstance(row, dict) else None
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        raise UpstreamGarbled("the upstream's answer is not one vector of numbers")
    if not 0 < len(numbers) <= MAX_DIMENSIONS or dimensions not in (None, len(numbers)):
        raise UpstreamGarbled(f"the upstream's vector has {len(numbers)} dimensions")
    vector = numpy.array(numbers, dtype="f8")
    length = float(numpy.linalg.norm(vector))
    if not 0 < length < float("inf"):
        raise UpstreamGarbled("the upstream's vector has no direction")
    unit: numpy.ndarray = (vector / length).astype("f4")
    return unit


def _usage_of(answer: dict[str, Any]) -> Usage | None:
    """Some state `total_tokens` only."""
    stated = answer.get("usage")
    if not isinstance(stated, dict):
        return None
    return usage_of({"prompt_tokens": stated.get("prompt_tokens", stated.get("total_tokens")), "completion_tokens": 0})
