"""What price lists leave out about models that the engine may choose by itself: output limits, tier, capabilities.

Sources: OpenAI's model pages (developers.openai.com/api/docs/models) and OpenRouter's (openrouter.ai/models),
read 2026-10. A model that is not here can be called by name, and is never chosen for a caller who named none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    max_output: int
    tier: str
    capabilities: frozenset[str]


_GENERAL = frozenset({"chat", "code", "function_calling", "json"})
_SEEING = _GENERAL | {"vision"}

_OPENAI = {
    "gpt-4.1-nano": Facts(32_768, "budget", _SEEING),
    "gpt-4o-mini": Facts(16_384, "budget", _SEEING),
    "gpt-4.1-mini": Facts(32_768, "mid", _SEEING),
    "gpt-4.1": Facts(32_768, "premium", _SEEING),
    "gpt-4o": Facts(16_384, "premium", _SEEING),
}

FACTS: dict[str, dict[str, Facts]] = {
    "openai": _OPENAI,
    "openrouter": {
        **{f"openai/{name}": facts for name, facts in _OPENAI.items()},
        "meta-llama/llama-3.3-70b-instruct": Facts(16_384, "mid", _GENERAL),
    },
}
"""By upstream, by its own name for the model."""
