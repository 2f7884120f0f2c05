"""Who can be called here: the offline provider always, an upstream if its key is set or it asks for none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.providers.anthropic import Anthropic
from engine.providers.offline import OfflineProvider
from engine.providers.offline_embedder import Embedder
from engine.providers.openai_compatible import OpenAICompatible
from engine.providers.provider import Provider, UpstreamProvider
from engine.upstream import Api, Upstream

ADAPTERS: Mapping[Api, Callable[[Upstream, str | None], UpstreamProvider]] = {
    "openai": OpenAICompatible,
    "anthropic": Anthropic,
}
"""By what an upstream speaks: the class that turns it into OpenAI's form, made of the upstream and its key."""


class Providers:
    """The providers by name, and which variable would bring one that is missing."""

    def __init__(self, available: Sequence[Provider], missing_keys: Mapping[str, str] | None = None) -> None:
        self._available = {provider.name: provider for provider in available}
        self._missing_keys = dict(missing_keys or {})

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], upstreams: Sequence[Upstream] = (), embedder: Embedder | None = None
    ) -> Providers:
        """Those of these upstreams whose key is in the environment or who ask for none, and the offline provider."""
        available: list[Provider] = [OfflineProvider(embedder or Embedder())]
        missing: dict[str, str] = {}
        for upstream in upstreams:
            key = environ.get(upstream.api_key_env, "") if upstream.api_key_env else ""
            if upstream.api_key_env and not key:
                missing[upstream.name] = upstream.api_key_env
            else:
                available.append(ADAPTERS[upstream.api](upstream, key or None))
        return cls(available, missing)

    @property
    def names(self) -> list[str]:
        """Of all that can be called, sorted."""
        return sorted(self._available)

    def get(self, name: str) -> Provider | None:
        return self._available.get(name)

    @property
    def missing_keys(self) -> Mapping[str, str]:
        """By upstream, the environment variable that it waits for."""
        return self._missing_keys

    async def close(self) -> None:
        for provider in self._available.values():
            await provider.close()
