"""`/api/v2/providers`: who can be called, which models, and what the same work costs with each (docs/models.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Response

from agentnode.api.auth import JsonBody, Needs
from agentnode.api.models import facts
from engine import TIERS, Compared, Model, Models, Upstream, compare, picks
from ledger.accounts import Caller
from ledger.errors import InvalidInput
from ledger.money import usd_fields

MOST_TOKENS = 10_000_000
_FIELDS = ("input_tokens", "output_tokens", "capabilities", "tier", "exclude_providers")


def router(models: Models, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/providers")
    reads = needs("chat")

    @routes.get("")
    async def providers(caller: Caller = reads) -> Response:
        data = [provider(upstream, models) for upstream in models.upstreams]
        return Response(orjson.dumps({"object": "list", "data": data}), media_type="application/json")

    @routes.post("/compare")
    async def compared(body: JsonBody, caller: Caller = reads) -> Response:
        asked = CompareRequest.parse(body)
        chosen = [model for model in models.all() if asked.wants(model)]
        return Response(
            orjson.dumps(
                comparison(compare(chosen, asked.input_tokens, asked.output_tokens, models.is_available), asked)
            ),
            media_type="application/json",
        )

    return routes


@dataclass(frozen=True)
class CompareRequest:
    """What is compared: the size of the work, and which models."""

    input_tokens: int
    output_tokens: int
    capabilities: frozenset[str]
    tier: str | None
    exclude_providers: frozenset[str]

    @classmethod
    def parse(cls, body: dict[str, Any]) -> CompareRequest:
        """Raises InvalidInput naming the field."""
        for name in body:
            if name not in _FIELDS:
                raise InvalidInput(name, "is not known here; known are " + ", ".join(_FIELDS))
        tier = body.get("tier")
        if tier is not None and tier not in TIERS:
            raise InvalidInput("tier", "must be one of " + ", ".join(TIERS))
        return cls(
            input_tokens=_count(body, "input_tokens"),
            output_tokens=_count(body, "output_tokens"),
            capabilities=_names(body, "capabilities"),
            tier=tier,
            exclude_providers=frozenset(name.lower() for name in _names(body, "exclude_providers")),
        )

    def wants(self, model: Model) -> bool:
        """Only models of which somebody states what they can do."""
        return (
            model.capabilities is not None
            and self.capabilities <= model.capabilities
            and self.tier in (None, model.tier)
            and model.provider not in self.exclude_providers
        )


def provider(upstream: Upstream, models: Models) -> dict[str, Any]:
    available = models.is_available(upstream.name)
    return {
        "id": upstream.name,
        "name": upstream.shown,
        "status": "available" if available else "no_key",
        "models": [{"id": model.id, **facts(model, available)} for model in models.of(upstream.name)],
    }


def comparison(compared: list[Compared], asked: CompareRequest) -> dict[str, Any]:
    chosen = picks(compared, asked.output_tokens)
    return {
        "object": "provider_comparison",
        "models": [_row(rank, each) for rank, each in enumerate(compared, 1)],
        "picks": {
            name: each.model.id if each is not None else None
            for name, each in (
                ("cheapest", chosen.cheapest),
                ("best_value", chosen.best_value),
                ("fastest", chosen.fastest),
            )
        },
    }


def _row(rank: int, each: Compared) -> dict[str, Any]:
    model = each.model
    return {
        "rank": rank,
        "model": model.id,
        "provider": model.provider,
        "tier": model.tier,
        "available": each.available,
        **usd_fields("cost", each.cost_usd_nanos),
        "cost_breakdown": {**usd_fields("input", each.input_usd_nanos), **usd_fields("output", each.output_usd_nanos)},
        "quality_score": model.quality,
        "context_window": model.context_window,
        **_per_1k("input_cost_per_1k", model.price.input.base),
        **_per_1k("output_cost_per_1k", model.price.output.base),
    }


def _per_1k(name: str, nanos_per_mtok: int) -> dict[str, Any]:
    """A thousandth of a rate is rarely a whole number of nanos: it is shown rounded up, as a bill would be."""
    return usd_fields(name, -(-nanos_per_mtok // 1_000))


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        raise InvalidInput(name, f"must be a whole number of tokens, at most {MOST_TOKENS}")
    return value


def _names(body: dict[str, Any], name: str) -> frozenset[str]:
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidInput(name, "must be a list of names")
    return frozenset(value)
