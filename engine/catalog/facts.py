"""What price lists leave out about models that the engine may choose by itself: output limits, tier, capabilities.

Source: model_prices_and_context_window_backup.json of litellm 1.109.1 (MIT), read 2026-11-21; the tiers are ours.
A model that is not here can be called by name, and is never chosen for a caller who named none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    max_output: int
    tier: str
    capabilities: frozenset[str]


_SEEING = frozenset({"chat", "code", "function_calling", "json", "vision"})

_OPENAI = {
    "gpt-4.1-nano": Facts(32_768, "budget", _SEEING),
    "gpt-4o-mini": Facts(16_384, "budget", _SEEING),
    "gpt-4.1-mini": Facts(32_768, "mid", _SEEING),
    "gpt-4.1": Facts(32_768, "premium", _SEEING),
    "gpt-4o": Facts(16_384, "premium", _SEEING),
}

FACTS: dict[str, dict[str, Facts]] = {
    "openai": _OPENAI,
    "openrouter": {f"openai/{name}": facts for name, facts in _OPENAI.items()},
}
"""By upstream, by its own name for the model."""
