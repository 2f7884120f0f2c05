"""Vectors for the cache from an upstream, at the node's expense: a hold before each call, one priced event after."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from engine.catalog import Model, ModelPrice, TokenRate, bound_usd_nanos
from engine.completion import Call
from engine.guard import Bound
from engine.metered import MeteredCall
from engine.options import DEFAULTS
from engine.order import Order
from engine.providers import Embedded, Embeddings
from engine.request import CompletionRequest
from engine.routing import Breakers
from engine.upstream import UpstreamEmbeddings
from ledger.accounts import Account
from ledger.clock import Clock
from ledger.errors import AgentNodeError, InvalidInput
from ledger.ids import ordered_id
from ledger.spend import Spend

if TYPE_CHECKING:
    import numpy

_log = logging.getLogger(__name__)
ADDED_TOKENS = 8
"""What a model puts around a text by itself: marks of its beginning and end, a short prefix."""
PURPOSE = "cache_embedding"
"""Stands in the trace of these events, which are the node's own and belong to no request of its callers."""


class UpstreamVectors:
    """`engine.cache.Embeds` over an upstream. Whatever is in the way (no room in the node's budgets, an upstream that
    fails or rests after failures, a database that is down) means no vector, and is nobody's error.
    """

    def __init__(
        self,
        terms: UpstreamEmbeddings,
        environ: Mapping[str, str],
        spend: Spend,
        clock: Clock,
        payer: Callable[[], Awaitable[Account]],
    ) -> None:
        """Raises InvalidInput where the variable with the key is empty."""
        variable = terms.upstream.api_key_env
        key = environ.get(variable, "") if variable else ""
        if variable and not key:
            raise InvalidInput("cache_embeddings.api_key_env", f"names {variable}, which is not set")
        self._terms, self._embeddings = terms, Embeddings(terms, key or None)
        self._spend, self._clock, self._payer = spend, clock, payer
        self._model, self._breakers = _model_of(terms), Breakers(clock)

    @property
    def space(self) -> str:
        return f"{self._model.id}/{self._terms.dimensions or 'its own'}"

    @property
    def similarity(self) -> float:
        return self._terms.similarity

    @property
    def model(self) -> Model | None:
        return self._model

    async def vector(self, text: str) -> numpy.ndarray | None:
        if not text or self._breakers.opens_at_us(self._model) > self._clock.now_us():
            return None
        try:
            return await self._paid(text)
        except AgentNodeError as error:
            _log.warning("a question could not be embedded: %s", error.code)
            return None

    async def close(self) -> None:
        await self._embeddings.close()

    async def _paid(self, text: str) -> numpy.ndarray:
        account = await self._payer()
        request, call = CompletionRequest([{"role": "user", "content": text}]), Call(ordered_id("emb"))
        order = Order(request, account, call, DEFAULTS, self._clock.now_us())
        takes = (*account.takes, *account.payers(False))
        metered = MeteredCall(
            *(self._spend, self._clock, self._model, _bound(text, self._model), order, takes),
            trace={"purpose": PURPOSE},
        )
        await metered.open()
        try:
            embedded = await self._called(text)
            await metered.capture(embedded.usage)
        except BaseException as error:
            await metered.close(error)
            raise
        await metered.close(None)
        return embedded.vector

    async def _called(self, text: str) -> Embedded:
        number = self._breakers.lets_through(self._model)
        try:
            embedded = await self._embeddings.embed(text)
        except BaseException as error:
            self._breakers.failed(self._model, number, error)
            raise
        self._breakers.succeeded(self._model, number)
        return embedded


def _bound(text: str, model: Model) -> Bound:
    tokens = len(text.encode()) + ADDED_TOKENS
    cost = bound_usd_nanos(tokens, 0, model.price)
    return Bound(tokens, 0, 0, cost, cost)


def _model_of(terms: UpstreamEmbeddings) -> Model:
    rate, nothing = TokenRate(terms.nanos_per_mtok), TokenRate(0)
    price = ModelPrice(rate, rate, rate, nothing, nothing, f"settings/{terms.nanos_per_mtok}")
    return Model(terms.upstream.name, terms.model, price, "the operator's settings")
