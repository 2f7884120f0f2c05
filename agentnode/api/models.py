"""`GET /v1/models`, `/v1/models/{id}` and `/api/v2/models`: OpenAI's list of models, with what we know of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter, Response

from engine import Model, Models
from ledger.money import usd_fields


def router(models: Models) -> APIRouter:
    """Open without a key. `/v1` lists what can be called here, `/api/v2` also what waits for a key."""
    routes = APIRouter()
    here = Page(models, lambda model: models.is_available(model.provider))
    everything = Page(models, lambda model: True)

    @routes.get("/v1/models")
    async def callable_here() -> Response:
        return Response(here.content(), media_type="application/json")

    @routes.get("/v1/models/{model_id:path}")
    async def one(model_id: str) -> Response:
        model = models.one(model_id)
        content = orjson.dumps(card(model, models.is_available(model.provider)))
        return Response(content, media_type="application/json")

    @routes.get("/api/v2/models")
    async def known() -> Response:
        return Response(everything.content(), media_type="application/json")

    return routes


class Page:
    """A list of over a thousand models, open to strangers: written again only when a price or a model has changed."""

    def __init__(self, models: Models, shows: Callable[[Model], bool]) -> None:
        self._models, self._shows = models, shows
        self._shown: list[Model] | None = None
        self._content = b""

    def content(self) -> bytes:
        known = self._models.all()
        if known != self._shown:  # a model that has not changed is the same object, so this takes microseconds
            data = [card(model, self._models.is_available(model.provider)) for model in known if self._shows(model)]
            self._content = orjson.dumps({"object": "list", "data": data})
        self._shown = known
        return self._content


def card(model: Model, available: bool) -> dict[str, Any]:
    """OpenAI's four members, and ours. `created` is the day of the price: nobody states when a model was made."""
    maker, slash, _ = model.name.partition("/")
    return {
        "id": model.id,
        "object": "model",
        "created": _seconds(model.price_date),
        "owned_by": maker if slash else model.provider,
        **facts(model, available),
    }


def facts(model: Model, available: bool) -> dict[str, Any]:
    """What the lists of models and of providers say of one alike. Unknown is null."""
    return {
        "available": available,
        "tier": model.tier,
        "capabilities": None if model.capabilities is None else sorted(model.capabilities),
        "context_window": model.context_window,
        "max_output": model.max_output,
        **usd_fields("input_usd_per_mtok", model.price.input.base),
        **usd_fields("output_usd_per_mtok", model.price.output.base),
        **usd_fields("cache_read_usd_per_mtok", model.price.cache_read.base),
        **usd_fields("cache_write_usd_per_mtok", model.price.cache_write.base),
        "price_source": model.price_source,
        "price_date": model.price_date,
        "price_version": model.price.version,
        "free": model.is_free,
        "quality_score": model.quality,
        "quality_source": model.quality_source,
    }


def _seconds(day: str | None) -> int:
    return 0 if day is None else int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
