"""The skills that a node has: echo, ask, which the engine answers, and functions that are marked as skills."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from agentnode.a2a.incoming import CONFIGURATION
from agentnode.a2a.skills import Skill, Work
from agentnode.payments import Priced, Pricing, Rate, read_rate
from agentnode.sell import PricedFunction
from engine import Call, Chunk, CompletionRequest, Options, Quote, options_of
from ledger.accounts import Account
from ledger.errors import InvalidInput
from ledger.money import NANOS_PER_USD

ASK_PRICE = Rate(NANOS_PER_USD // 100)
MOST_QUOTED_TOKENS = 1_000
"""Of an answer whose price the engine quotes."""


class Engine(Protocol):
    """What `ask` needs of the engine."""

    async def quote(self, request: CompletionRequest, options: Options = ...) -> Quote: ...

    def stream(
        self, request: CompletionRequest, account: Account, call: Call, options: Options
    ) -> AsyncGenerator[list[Chunk], None]: ...


def echo() -> Skill:
    async def answer(work: Work) -> str:
        return work.text

    return Skill(
        id="echo",
        name="Echo",
        description="Answers with the text that it was sent.",
        run=answer,
        tags=("echo", "test"),
        examples=("hello",),
        immediate=True,
    )


def sold(function: PricedFunction) -> Skill:
    """A function that is marked as a skill."""

    async def answer(work: Work) -> AsyncGenerator[str, None]:
        async for part in function.answers(work.text):
            yield part

    return Skill(
        id=function.id,
        name=function.name,
        description=function.description,
        run=answer,
        price=function.price,
        tags=function.tags,
        examples=function.examples,
    )


def ask(engine: Engine, account: Callable[[], Awaitable[Account]], price: Pricing = ASK_PRICE) -> Skill:
    """A question answered by the engine; `account` says which budgets of the node its upstream calls are held on."""
    quoted = isinstance(price, EngineQuote)

    async def answer(work: Work) -> AsyncGenerator[str, None]:
        request, options = _question(work.text, work.message, MOST_QUOTED_TOKENS if quoted else None)
        if quoted and work.revenue_usd_nanos:
            # What was quoted is what was paid: the answer is never dearer, whatever the list of prices says by now.
            options = replace(options, max_cost_usd_nanos=work.revenue_usd_nanos)
        call = Call(
            request_id=work.task_id if work.attempt == 1 else f"{work.task_id}.{work.attempt}",
            task_id=work.task_id,
            revenue_usd_nanos=work.revenue_usd_nanos,
            receipt_id=work.receipt_id,
            payment_id=work.payment_id,
        )
        async with contextlib.aclosing(engine.stream(request, await account(), call, options)) as arrivals:
            async for chunks in arrivals:
                if text := "".join(chunk.text for chunk in chunks):
                    yield text

    return Skill(
        id="ask",
        name="Ask",
        description="Answers a question, or works on a text, with the node's engine.",
        run=answer,
        price=price,
        tags=("chat", "question-answering"),
        examples=("What are the three main points of this text? ...",),
    )


def ask_pricing(said: str, engine: Engine, least_usd_nanos: int) -> Pricing:
    """Of the setting `ask_price`. Raises InvalidInput."""
    return EngineQuote(engine, least_usd_nanos) if said == "quoted" else read_rate(said, "ask_price")


class EngineQuote:
    """What the engine says that the answer can cost at most, and what it costs to be paid at least."""

    terms = "priced by the engine, by the question and the model"

    def __init__(self, engine: Engine, least_usd_nanos: int) -> None:
        self._engine, self._least_usd_nanos = engine, least_usd_nanos

    async def of(self, text: str, message: Mapping[str, Any]) -> Priced:
        """Raises what `Engine.quote` does, and InvalidInput for a configuration that is none."""
        request, options = _question(text, message, MOST_QUOTED_TOKENS)
        quote = await self._engine.quote(request, options)
        says = f"Up to {MOST_QUOTED_TOKENS} tokens of {quote.model}."
        return Priced(max(quote.bound_usd_nanos, self._least_usd_nanos), quote.price_version, says)


def _question(text: str, message: Mapping[str, Any], most_tokens: int | None) -> tuple[CompletionRequest, Options]:
    """What the engine is asked, as the message of a P402 client was configured. Raises InvalidInput."""
    asked = message.get("metadata", {}).get(CONFIGURATION, {})
    if not isinstance(asked, dict):
        raise InvalidInput(CONFIGURATION, "must be an object")
    request = CompletionRequest([{"role": "user", "content": text}], asked.get("model"), most_tokens)
    given = {"mode": asked.get("mode"), "max_cost": asked.get("maxCost")}
    if asked.get("provider"):
        given["prefer_providers"] = [asked["provider"]]
    return request, options_of({"p402": {name: value for name, value in given.items() if value is not None}})
