"""What the agent sells: skills are plain async functions with a price, registered in one place."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentnode.a2a.errors import SkillUnknown
from engine import Call, Chunk, CompletionRequest
from ledger.accounts import Account, Caller
from ledger.money import NANOS_PER_USD, usd_exact

ASK_PRICE_USD_NANOS = NANOS_PER_USD // 100
DEFAULT_SKILL = "ask"


@dataclass(frozen=True)
class Work:
    """One task, as the skill that does it sees it. Done again after a crash, `attempt` is higher."""

    text: str
    task_id: str
    context_id: str
    caller: Caller
    revenue_usd_nanos: int = 0
    receipt_id: str | None = None
    payment_id: str | None = None
    attempt: int = 1


@dataclass(frozen=True)
class Skill:
    """`run(work)` is a coroutine that answers with text, or an async generator whose chunks are streamed.

    `immediate`: it waits for nothing, so the task is written once, when it has ended. Free skills only.
    """

    id: str
    name: str
    description: str
    run: Callable[[Work], Awaitable[str] | AsyncGenerator[str, None]]
    price_usd_nanos: int = 0
    tags: Sequence[str] = ("agent",)
    examples: Sequence[str] = field(default_factory=tuple)
    immediate: bool = False

    def __post_init__(self) -> None:
        assert not (self.immediate and self.price_usd_nanos), "what is paid for is written before it is worked on"

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

    def of(self, *metadata: Mapping[str, Any]) -> Skill:
        """The skill that the first of the metadata names. Raises SkillUnknown."""
        named = next((each["skill"] for each in metadata if "skill" in each), self._default)
        skill = self._skills.get(named) if isinstance(named, str) else None
        if skill is None:
            raise SkillUnknown(str(named)[:100], sorted(self._skills))
        return skill

    def named(self, skill_id: str) -> Skill:
        """The skill of a task that is there. Raises SkillUnknown where the node no longer has it."""
        return self.of({"skill": skill_id})


class Engine(Protocol):
    """What `ask` needs of the engine."""

    def stream(self, request: CompletionRequest, account: Account, call: Call) -> AsyncGenerator[list[Chunk], None]: ...


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


def ask(
    engine: Engine,
    account: Callable[[], Awaitable[Account]],
    price_usd_nanos: int = ASK_PRICE_USD_NANOS,
) -> Skill:
    """A question answered by the engine; `account` says which budgets of the node its upstream calls are held on."""

    async def answer(work: Work) -> AsyncGenerator[str, None]:
        request = CompletionRequest(messages=[{"role": "user", "content": work.text}])
        call = Call(
            request_id=work.task_id if work.attempt == 1 else f"{work.task_id}.{work.attempt}",
            task_id=work.task_id,
            revenue_usd_nanos=work.revenue_usd_nanos,
            receipt_id=work.receipt_id,
            payment_id=work.payment_id,
        )
        async with contextlib.aclosing(engine.stream(request, await account(), call)) as arrivals:
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
