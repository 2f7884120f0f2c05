"""What the settings say of an upstream: where it is, whose key it takes, which models it has at which price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ledger.errors import InvalidInput

Api = Literal["openai", "anthropic"]
"""What it speaks over the wire: OpenAI's chat completions, Anthropic's Messages (`engine.providers.ADAPTERS`)."""


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
    tier: str | None = None
    """None: by its price, as for all others"""
    quality: float | None = None


@dataclass(frozen=True)
class Upstream:
    """An endpoint for chat completions. `base_url` ends where `/chat/completions` (or `/messages`) begins."""

    name: str
    base_url: str
    api_key_env: str | None = None
    """The environment variable with the key; None for an upstream that asks for none."""
    models: tuple[UpstreamModel, ...] = ()
    price_list: str | None = None
    """The provider's id in the price library; None: only `models` are priced."""
    priced_prefixes: tuple[str, ...] = ("",)
    """Of that list only names that begin so are served here."""
    maker_prefix: str = ""
    """What OpenRouter calls the maker of these models, where it is not `name`."""
    bare_makers: tuple[str, ...] = ()
    """Of a broker: the makers whose models are meant by their bare names too."""
    api: Api = "openai"
    title: str = ""
    """As its owner writes it."""
    model_prefix: str = ""
    """What stands before a model's name in a call."""
    max_tokens_field: str = "max_tokens"
    renamed: tuple[tuple[str, str], ...] = ()
    """Options that it calls otherwise: (OpenAI's name, its own)."""
    unsupported: frozenset[str] = frozenset()
    """Options that it does not take: a request that sets one is not served by it."""
    streams_usage: bool = True
    """It takes `stream_options`; without, it counts by itself or not at all."""
    first_token_ms: int | None = None
    """What is assumed of its speed until it was measured; None: its models' tier says."""
    tokens_per_s: int | None = None
    test: bool = False
    """Money of source `test` buys here (docs/accounts.md)."""

    @property
    def shown(self) -> str:
        return self.title or self.name

    def refuse_unsupported(self, options: dict[str, Any]) -> None:
        """Takes out what asks for nothing (`n` of 1). Raises InvalidInput for an option that it does not take."""
        for name in self.unsupported & options.keys():
            if name != "n" or options[name] != 1:
                raise InvalidInput(name, f"is not an option of {self.shown}'s models")
            del options[name]


@dataclass(frozen=True)
class UpstreamEmbeddings:
    """A model whose vectors the cache compares questions by, instead of the offline ones."""

    upstream: Upstream
    """`/embeddings` is added to its `base_url`"""
    model: str
    nanos_per_mtok: int
    """USD nanos per million tokens"""
    similarity: float
    """the cosine that two questions must reach, which is each model's own"""
    dimensions: int | None = None
    """asked for, where the operator says how many; else the model's own"""
    timeout_s: float = 2.0
    """for a whole call, while a caller waits"""
