"""What the agent sells: skills are plain async functions with a price, registered in one place."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentnode.a2a.answers import Answer
from agentnode.a2a.errors import SkillUnknown
from agentnode.a2a.incoming import Incoming
from agentnode.a2a.p402 import CONFIGURATION
from agentnode.sell import PricedFunction
from engine import Call, Chunk, CompletionRequest, Options, options_of
from ledger.accounts import Account, Caller
from ledger.money import NANOS_PER_USD, usd_exact

ASK_PRICE_USD_NANOS = NANOS_PER_USD // 100
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
    tags: Sequence[str] = ("agent",)
    examples: Sequence[str] = field(default_factory=tuple)
    immediate: bool = False
    direct: bool = False
    input_modes: Sequence[str] = INPUT_MODES

    def __post_init__(self) -> None:
        at_once = self.immediate or self.direct
        assert not (at_once and self.price_usd_nanos), "what is paid for is written before it is worked on"

    @property
    def terms(self) -> str:
        """The description with the price, as the card shows it."""
        price = f"{usd_exact(self.price_usd_nanos)} USD per task" if self.price_usd_nanos else "Free"
        return f"{self.description} {price}."


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
        price_usd_nanos=function.price_usd_nanos,
        tags=function.tags,
        examples=function.examples,
    )


def _options(asked: Mapping[str, Any]) -> Options:
    """The engine's options for what a message of the P402 dialect was configured with. Raises InvalidInput."""
    given = {"mode": asked.get("mode"), "max_cost": asked.get("maxCost")}
    if asked.get("provider"):
        given["prefer_providers"] = [asked["provider"]]
    return options_of({"p402": {name: value for name, value in given.items() if value is not None}})


def ask(
    engine: Engine,
    account: Callable[[], Awaitable[Account]],
    price_usd_nanos: int = ASK_PRICE_USD_NANOS,
) -> Skill:
    """A question answered by the engine; `account` says which budgets of the node its upstream calls are held on."""

    async def answer(work: Work) -> AsyncGenerator[str, None]:
        asked = work.message.get("metadata", {}).get(CONFIGURATION, {})
        request = CompletionRequest(messages=[{"role": "user", "content": work.text}], model=asked.get("model"))
        call = Call(
            request_id=work.task_id if work.attempt == 1 else f"{work.task_id}.{work.attempt}",
            task_id=work.task_id,
            revenue_usd_nanos=work.revenue_usd_nanos,
            receipt_id=work.receipt_id,
            payment_id=work.payment_id,
        )
        async with contextlib.aclosing(engine.stream(request, await account(), call, _options(asked))) as arrivals:
            async for chunks in arrivals:
                if text := "".join(chunk.text for chunk in chunks):
                    yield text

    return Skill(
        id="ask",
        name="Ask",
        description="Answers a question, or works on a text, with the node's engine.",
        run=answer,
        price_usd_nanos=price_usd_nanos,
        tags=("chat", "question-answering"),
        examples=("What are the three main points of this text? ...",),
    )
