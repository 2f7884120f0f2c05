"""The price lists of the genai-prices library, or of a local file of its form. Loaded when first asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger.errors import InvalidInput

PUBLISHED = {"0.2.3": "2026-11-10"}
"""When a version of the library was published: the date of its prices, where they do not state their own."""


class PriceLists:
    """Entries by provider and name. `file` is a `data.json` of genai-prices, fresher than the library's own."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._providers: dict[str, Any] | None = None
        self.source = ""
        """Empty until first asked for entries."""
        self.date: str | None = None

    def entries(self, price_list: str) -> dict[str, Any]:
        """The library's models of one provider by name. Raises InvalidInput where the local file is of no use."""
        if self._providers is None:
            self._providers = self._from_library() if self._file is None else self._from_file(self._file)
        return {model.id: model for model in self._providers.get(price_list, ())}

    def _from_library(self) -> dict[str, Any]:
        from importlib.metadata import version

        from genai_prices.data import providers

        release = version("genai-prices")
        self.source, self.date = f"genai-prices/{release}", PUBLISHED.get(release)
        return {provider.id: provider.models for provider in providers}

    def _from_file(self, file: Path) -> dict[str, Any]:
        import hashlib

        import orjson
        from genai_prices.types import _providers_from_raw

        try:
            raw = file.read_bytes()
            providers = _providers_from_raw(orjson.loads(raw))
            changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInput("prices_file", f"{file} is not a data.json of genai-prices: {error}") from error
        # An event keeps the version, so another content must have another.
        self.source, self.date = f"{file.name}/{hashlib.sha256(raw).hexdigest()[:12]}", f"{changed:%Y-%m-%d}"
        return {provider.id: provider.models for provider in providers}
