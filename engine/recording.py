"""One small call to an upstream, kept as an example of how it counts: its usage, and nothing of its content."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from engine.errors import ModelUnavailable
from engine.models import Models
from engine.providers import PATIENT, Providers, UpstreamProvider
from engine.request import CompletionRequest
from ledger.clock import SECOND_US, Clock

PROMPT = "Answer with the word yes."
MAX_TOKENS = 64
_KEPT = ("object", "type", "model", "usage", "x_groq")


async def record(wanted: str, models: Models, providers: Providers, clock: Clock) -> dict[str, Any]:
    """`{source, date, provider, model, usage, answer}`, the form of `tests/engine/usage_examples`. It is billed.

    Raises ModelUnknown, ModelUnavailable, and UpstreamError leaves.
    """
    model = models.one(wanted)
    provider = providers.get(model.provider)
    if not isinstance(provider, UpstreamProvider):
        raise ModelUnavailable(f"{model.id} has no upstream with a key here, so there is nothing to record")
    request = CompletionRequest([{"role": "user", "content": PROMPT}])
    answer = await provider.raw(model, request, MAX_TOKENS, PATIENT)
    return {
        "source": f"recorded from {model.provider}",
        "date": f"{datetime.fromtimestamp(clock.now_us() / SECOND_US, UTC):%Y-%m-%d}",
        "provider": model.provider,
        "model": model.name,
        "usage": answer.get("usage") if isinstance(answer, dict) else None,
        "answer": {name: answer[name] for name in _KEPT if name in answer} if isinstance(answer, dict) else None,
    }
