"""What the settings say of an upstream: where it is, whose key it takes, which models it has at which price."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UpstreamModel:
    """A model whose price and limits the operator states. Rates are USD nanos per million tokens."""

    id: str
    input_nanos_per_mtok: int
    output_nanos_per_mtok: int
    cache_read_nanos_per_mtok: int | None = None
    cache_write_nanos_per_mtok: int | None = None
    context: int | None = None
    max_output: int | None = None
    capabilities: tuple[str, ...] = ("chat",)
    tier: str = "budget"
    quality: float | None = None


@dataclass(frozen=True)
class Upstream:
    """An endpoint that speaks OpenAI's API. `base_url` ends where `/chat/completions` begins."""

    name: str
    base_url: str
    api_key_env: str | None = None
    """The environment variable with the key; None for an upstream that asks for none."""
    models: tuple[UpstreamModel, ...] = ()
    price_list: str | None = None
    """The provider's id in the price library; None: only `models` are priced."""
    max_tokens_field: str = "max_tokens"
    test: bool = False
    """Money of source `test` buys here (wire.md, OpenAI face)."""
