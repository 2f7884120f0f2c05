"""What the agent sells: skills are plain async functions with a price, registered in one place."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from agentnode.a2a.answers import Answer
from agentnode.a2a.errors import SkillUnknown
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.p402 import CONFIGURATION
from agentnode.payments import Priced, Pricing, Rate, read_rate
from agentnode.sell import PricedFunction
from engine import Call, Chunk, CompletionRequest, Options, Quote, options_of
from ledger.accounts import Account, Caller
from ledger.money import NANOS_PER_USD

ASK_PRICE = Rate(NANOS_PER_USD // 100)
MOST_QUOTED_TOKENS = 1_000
"""Of an answer whose price the engine quotes."""
DEFAULT_SKILL = "ask"
INPUT_MODES = ("text/plain", "application/json")


@dataclass(frozen=True)
class Work:
    """One task, as the skill that does it sees it. Done again after a crash, `attempt` is higher.

    `message` is what the caller said last, as A2A 1.0 JSON, and `text` its words; `history` what was said before it.
    """

    text: str
    task_id: str
    context_id: str
    caller: Caller
    message: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    revenue_usd_nanos: int = 0
    receipt_id: str | None = None
    payment_id: str | None = None
    attempt: int = 1


@dataclass(frozen=True)
class Skill:
    """`run(work)` is a coroutine that gives one answer, or an async generator whose answers are streamed.

    `immediate`: it waits for nothing, so the task is written once, when it has ended. `direct`: its answer is a
    message, and there is no task. Both are for free skills only. `input_modes`: media types of parts that it reads.
    """

    id: str
    name: str
    description: str
    run: Callable[[Work], Awaitable[Answer] | AsyncGenerator[Answer, None]]
    price_usd_nanos: int = 0
    """of each task, where `price` says nothing else"""
    tags: Sequence[str] = ("agent",)
    examples: Sequence[str] = field(default_factory=tuple)
    immediate: bool = False
    direct: bool = False
    input_modes: Sequence[str] = INPUT_MODES
    price: Pricing | None = None

    def __post_init__(self) -> None:
        at_once = self.immediate or self.direct
        assert not (at_once and self.is_priced), "what is paid for is written before it is worked on"

    @property
    def pricing(self) -> Pricing:
        return self.price or Rate(self.price_usd_nanos)

    @property
    def is_priced(self) -> bool:
        return bool(self.pricing.terms)

    @property
    def terms(self) -> str:
        """The description with the price, as the card shows it."""
        price = self.pricing.terms or "free"
        if isinstance(self.pricing, Rate) and self.is_priced and not self.pricing.unit:
            price += " per task"
        return f"{self.description} {price[0].upper()}{price[1:]}."


class Skills:
    """The skills of a node by id; where the caller names none, `default`."""

    def __init__(self, skills: Sequence[Skill], default: str = DEFAULT_SKILL) -> None:
        self._skills = {skill.id: skill for skill in skills}
        self._default = default

    def __iter__(self) -> Iterator[Skill]:
        return iter(self._skills.values())

    @property
    def input_modes(self) -> list[str]:
        """Media types that some skill reads."""
        return list(dict.fromkeys(mode for skill in self for mode in skill.input_modes))

    def of(self, incoming: Incoming) -> Skill:
        """The skill that the message's metadata names, or the request's. Raises SkillUnknown."""
        return self.named(next((each["skill"] for each in incoming.metadata if "skill" in each), self._default))

    def named(self, skill_id: Any) -> Skill:
        """Raises SkillUnknown, for a task that is there too, where the node no longer has it."""
        skill = self._skills.get(skill_id) if isinstance(skill_id, str) else None
        if skill is None:
            raise SkillUnknown(str(skill_id)[:100], sorted(self._skills))
        return skill


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


def _options(asked: Mapping[str, Any]) -> Options:
    """The engine's options for what a message of the P402 dialect was configured with. Raises InvalidInput."""
    given = {"mode": asked.get("mode"), "max_cost": asked.get("maxCost")}
    if asked.get("provider"):
        given["prefer_providers"] = [asked["provider"]]
    return options_of({"p402": {name: value for name, value in given.items() if value is not None}})


class EngineQuote:
    """What the engine says that the answer can cost at most, and what it costs to be paid at least."""

    terms = "priced by the engine, by the question and the model"

    def __init__(self, engine: Engine, least_usd_nanos: int) -> None:
        self._engine, self._least_usd_nanos = engine, least_usd_nanos

    async def of(self, text: str, message: Mapping[str, Any]) -> Priced:
        """Raises what `Engine.quote` does, and InvalidInput for a configuration that is none."""
        asked = message.get("metadata", {}).get(CONFIGURATION, {})
        quote = await self._engine.quote(_question(text, asked, MOST_QUOTED_TOKENS), _options(asked))
        says = f"Up to {MOST_QUOTED_TOKENS} tokens of {quote.model}."
        return Priced(max(quote.bound_usd_nanos, self._least_usd_nanos), quote.price_version, says)


def ask_pricing(said: str, engine: Engine, least_usd_nanos: int) -> Pricing:
    """Of the setting `ask_price`. Raises InvalidInput."""
    return EngineQuote(engine, least_usd_nanos) if said == "quoted" else read_rate(said, "ask_price")


def _question(text: str, asked: Mapping[str, Any], most_tokens: int | None) -> CompletionRequest:
    messages = [{"role": "user", "content": text}]
    return CompletionRequest(messages=messages, model=asked.get("model"), max_tokens=most_tokens)


def ask(engine: Engine, account: Callable[[], Awaitable[Account]], price: Pricing = ASK_PRICE) -> Skill:
    """A question answered by the engine; `account` says which budgets of the node its upstream calls are held on."""
    quoted = isinstance(price, EngineQuote)

    async def answer(work: Work) -> AsyncGenerator[str, None]:
        asked = work.message.get("metadata", {}).get(CONFIGURATION, {})
        request = _question(work.text, asked, MOST_QUOTED_TOKENS if quoted else None)
        options = _options(asked)
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
