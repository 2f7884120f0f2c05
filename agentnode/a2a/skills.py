"""What a skill is: the work that it gets, what it may answer, and what it costs. A node's skills by their ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentnode.a2a.errors import SkillUnknown
from agentnode.a2a.incoming import Incoming
from agentnode.payments import Pricing, Rate
from ledger.accounts import Caller

FREE = Rate(0)
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
class Piece:
    """A piece of an artefact.

    `parts` are A2A 1.0 JSON: `{"text"}`, `{"data"}`, `{"raw" | "url", "filename", "mediaType"}`.
    `append`: it goes on an artefact of the same id that was said before; `last`: nothing follows on it.
    """

    parts: Sequence[dict[str, Any]]
    artifact_id: str = "answer"
    append: bool = False
    last: bool = True


@dataclass(frozen=True)
class NeedsInput:
    """The task waits for its caller's next message; the skill runs again then, and sees it in `Work.text`."""

    text: str


@dataclass(frozen=True)
class Rejected:
    """The agent will not do this; the task ends."""

    text: str


@dataclass(frozen=True)
class Done:
    """The task is completed, and this is said on its last status."""

    text: str


Ending = NeedsInput | Rejected | Done
Answer = str | Piece | Ending


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
    price: Pricing = FREE
    tags: Sequence[str] = ("agent",)
    examples: Sequence[str] = field(default_factory=tuple)
    immediate: bool = False
    direct: bool = False
    input_modes: Sequence[str] = INPUT_MODES

    def __post_init__(self) -> None:
        at_once = self.immediate or self.direct
        assert not (at_once and self.is_priced), "what is paid for is written before it is worked on"

    @property
    def is_priced(self) -> bool:
        return bool(self.price.terms)

    @property
    def card_text(self) -> str:
        """The description with the price, as the card shows it."""
        terms = self.price.terms or "free"
        if isinstance(self.price, Rate) and self.is_priced and not self.price.unit:
            terms += " per task"
        return f"{self.description} {terms[0].upper()}{terms[1:]}."


class Skills:
    """The skills of a node by id; where the caller names none, `default`."""

    def __init__(self, skills: Sequence[Skill], default: str = "ask") -> None:
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
