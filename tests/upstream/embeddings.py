"""What the upstream says on OpenAI's `/embeddings`: a vector of a text's words, in whatever order they stand."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tests.upstream.behaviour import Behaviour

# developers.openai.com/api/reference, "Create embeddings", without what says who the end customer is.
FIELDS = {"model", "input", "encoding_format", "dimensions"}
OWN_DIMENSIONS = 64


def answer(body: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    """One word is one token here."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    tokens = sum(len(_words(text)) for text in texts)
    dimensions = body.get("dimensions") or OWN_DIMENSIONS
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, dimensions)}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    if isinstance(behaviour.usage, dict):
        usage = behaviour.usage
    said = {} if behaviour.usage == "none" else {"usage": usage}
    return {"object": "list", "model": body["model"], "data": data, **said}


def _vector(text: str, dimensions: int) -> list[float]:
    vector = [0.0] * dimensions
    for word in _words(text):
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % dimensions] += 1.0
    return vector


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
