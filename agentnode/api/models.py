"""`GET /v1/models`, `/v1/models/{id}` and `/api/v2/models`: OpenAI's list of models, with what we know of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter, Response

from engine import Model, Models
from ledger.money import usd_fields


def router(models: Models) -> APIRouter:
    """Open without a key. `/v1` lists what can be called here, `/api/v2` also what waits for a key."""
    routes = APIRouter()

    @routes.get("/v1/models")
    async def callable_here() -> Response:
        return _json(listed(models, [model for model in models.all() if models.is_available(model.provider)]))

    @routes.get("/v1/models/{model_id:path}")
    async def one(model_id: str) -> Response:
        model = models.one(model_id)
        return _json(card(model, models.is_available(model.provider)))

    @routes.get("/api/v2/models")
    async def known() -> Response:
        return _json(listed(models, models.all()))

    return routes


def listed(models: Models, shown: list[Model]) -> dict[str, Any]:
    return {"object": "list", "data": [card(model, models.is_available(model.provider)) for model in shown]}


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


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
