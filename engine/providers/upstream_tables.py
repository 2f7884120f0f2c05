"""Upstreams as the operator writes them in the settings file, checked field by field."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from engine.catalog import TIERS
from engine.providers.openai_embeddings import MAX_DIMENSIONS
from engine.providers.upstreams import KNOWN
from engine.upstream import Upstream, UpstreamEmbeddings, UpstreamModel
from ledger.errors import InvalidInput
from ledger.money import usd_nanos

_LONGEST_S = 60


def upstream_from_table(table: Mapping[str, Any], where: str = "upstreams") -> Upstream:
    """From `[[upstreams]]`; a known name takes what the table leaves out from KNOWN. Raises InvalidInput."""
    _refuse_unknown(table, {"name", "base_url", "api_key_env", "models", "test"}, where)
    name = _text(table, "name", where)
    if name == "offline" or "/" in name:
        raise InvalidInput(f"{where}.name", "must not be offline, and holds no slash")
    known = KNOWN.get(name)
    base_url = _text(table, "base_url", where) if known is None or "base_url" in table else known.base_url
    if not base_url.startswith(("http://", "https://")):
        raise InvalidInput(f"{where}.base_url", "must begin with http:// or https://")
    models = table.get("models", [])
    if not isinstance(models, list):
        raise InvalidInput(f"{where}.models", "must be a list of tables")
    test = table.get("test", False)
    if not isinstance(test, bool):
        raise InvalidInput(f"{where}.test", "must be true or false")
    own_key = _text(table, "api_key_env", where) if "api_key_env" in table else None
    base = known or Upstream(name, base_url)
    return dataclasses.replace(
        base,
        base_url=base_url.rstrip("/"),
        api_key_env=own_key or base.api_key_env,
        models=tuple(upstream_model_from_table(model, f"{where}.models[{i}]") for i, model in enumerate(models)),
        test=test,
    )


def upstream_model_from_table(table: Mapping[str, Any], where: str = "upstreams.models") -> UpstreamModel:
    """From `[[upstreams.models]]` (docs/settings.md). Raises InvalidInput naming the field."""
    prices = ("input_usd_per_mtok", "output_usd_per_mtok")
    optional = ("cache_read_usd_per_mtok", "cache_write_usd_per_mtok")
    known = {"id", "context", "max_output", "capabilities", "tier", "quality", *prices, *optional}
    _refuse_unknown(table, known, where)
    rates: dict[str, int | None] = {}
    for name in (*prices, *optional):
        if name in table:
            rates[name.replace("_usd_", "_nanos_")] = usd_nanos(table[name], f"{where}.{name}")
        elif name in prices:
            raise InvalidInput(f"{where}.{name}", "is missing: a model without a price is not called")
    return UpstreamModel(
        id=_text(table, "id", where),
        context=_count(table, "context", where),
        max_output=_count(table, "max_output", where),
        capabilities=_names(table, "capabilities", where, ("chat",)),
        tier=_one_of(table, "tier", where, TIERS),
        quality=_share(table, "quality", where),
        **rates,  # type: ignore[arg-type]  # the two required ones are there
    )


def embeddings_from_table(table: Mapping[str, Any], where: str = "cache_embeddings") -> UpstreamEmbeddings:
    """From `[cache_embeddings]`; a known name brings its address and key. Raises InvalidInput naming the field."""
    address = ("name", "base_url", "api_key_env")
    needed = ("model", "usd_per_mtok", "similarity")
    _refuse_unknown(table, {*address, *needed, "dimensions", "timeout_s"}, where)
    for name in needed:
        if name not in table:
            raise InvalidInput(f"{where}.{name}", "is missing: only the operator knows it")
    upstream = upstream_from_table({name: table[name] for name in address if name in table}, where)
    if upstream.api != "openai":
        raise InvalidInput(f"{where}.name", "must be an upstream with OpenAI's /embeddings")
    similarity, dimensions = _share(table, "similarity", where), _count(table, "dimensions", where)
    if not similarity:
        raise InvalidInput(f"{where}.similarity", "must be over 0: without it every question is near")
    if dimensions is not None and dimensions > MAX_DIMENSIONS:
        raise InvalidInput(f"{where}.dimensions", f"must be at most {MAX_DIMENSIONS}")
    return UpstreamEmbeddings(
        upstream=upstream,
        model=_text(table, "model", where),
        nanos_per_mtok=usd_nanos(table["usd_per_mtok"], f"{where}.usd_per_mtok"),
        similarity=similarity,
        dimensions=dimensions,
        timeout_s=_seconds(table, "timeout_s", where, UpstreamEmbeddings.timeout_s),
    )


def _refuse_unknown(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if not isinstance(table, Mapping):
        raise InvalidInput(where, "must be a table")
    for name in table:
        if name not in known:
            raise InvalidInput(f"{where}.{name}", "is not a setting; known are " + ", ".join(sorted(known)))


def _text(table: Mapping[str, Any], name: str, where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{where}.{name}", "must be text")
    return value


def _count(table: Mapping[str, Any], name: str, where: str) -> int | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{where}.{name}", "must be a whole number, at least 1")
    return value


def _seconds(table: Mapping[str, Any], name: str, where: str, otherwise: float) -> float:
    value = table.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_S:
        raise InvalidInput(f"{where}.{name}", f"must be seconds, over 0 and at most {_LONGEST_S}")
    return float(value)


def _names(table: Mapping[str, Any], name: str, where: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    value = table.get(name, otherwise)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InvalidInput(f"{where}.{name}", "must be a list of names")
    return tuple(value)


def _one_of(table: Mapping[str, Any], name: str, where: str, options: Sequence[str]) -> str | None:
    value = table.get(name)
    if value is not None and value not in options:
        raise InvalidInput(f"{where}.{name}", "must be one of " + ", ".join(options))
    return value


def _share(table: Mapping[str, Any], name: str, where: str) -> float | None:
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidInput(f"{where}.{name}", "must be a number from 0 to 1")
    if not math.isfinite(value) or not 0 <= value <= 1:
        raise InvalidInput(f"{where}.{name}", "must be a number from 0 to 1")
    return float(value)
