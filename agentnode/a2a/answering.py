"""A skill at its work: what it says becomes events, which are appended as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from agentnode.a2a.events import Event, artifact
from agentnode.a2a.skills import Answer, Ending, Piece, Skill, Work

Append = Callable[[Sequence[Event]], Awaitable[Any]]


async def one_answer(skill: Skill, work: Work) -> Answer:
    """The answer of a skill that gives one."""
    answer = skill.run(work)
    assert not isinstance(answer, AsyncGenerator), "a skill that is answered at once answers in one piece"
    return await answer


def outcome_of(skill: Skill, answer: Answer) -> tuple[list[Event], Ending | None]:
    """What one answer comes to: events, or the way in which the work ends."""
    if isinstance(answer, Ending):
        return [], answer
    return _Said(skill.name).events([answer], last=True), None


async def perform(skill: Skill, work: Work, append: Append) -> tuple[list[Event], Ending | None]:
    """Run the skill: what it says and how it ends, but for what was already appended while it said it."""
    answer = skill.run(work)
    if not isinstance(answer, AsyncGenerator):
        return outcome_of(skill, await answer)
    async with contextlib.aclosing(answer):
        return await _streamed(skill, answer, append)


async def _streamed(
    skill: Skill, answers: AsyncGenerator[Answer, None], append: Append
) -> tuple[list[Event], Ending | None]:
    """Append each answer as it comes; those that come during a write share the next one."""
    so_far = _Said(skill.name)
    waiting: list[Any] = []
    ending: Ending | None = None

    async def write() -> None:
        while waiting:
            events = so_far.events(waiting)
            waiting.clear()
            await append(events)

    writing: asyncio.Task[None] | None = None
    try:
        async for answer in answers:
            if isinstance(answer, Ending):
                ending = answer
                break
            waiting.append(answer)
            if writing is None or writing.done():
                if writing is not None:
                    writing.result()
                writing = asyncio.create_task(write())
        rest, waiting = waiting, []
    finally:
        if writing is not None:
            await asyncio.wait({writing})
            _ = writing.cancelled() or writing.exception()  # whoever stops the work need not hear of it again
    if writing is not None:
        writing.result()
    return so_far.events(rest, last=True), ending


class _Said:
    """What a skill says, as events: texts in a row are one event, on one artefact called after the skill."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = False

    def events(self, answers: Sequence[str | Piece], last: bool = False) -> list[Event]:
        """`last`: the skill has nothing more to say; a run of chunks is closed then."""
        made: list[Event] = []
        texts: list[str] = []
        for each in answers:
            if isinstance(each, str):
                texts.append(each)
                continue
            made += self._text(texts, last=False)
            texts = []
            made.append(self._piece(each))
        return made + self._text(texts, last)

    def _text(self, texts: Sequence[str], last: bool) -> list[Event]:
        if not texts:
            return []
        piece = Piece([{"text": "".join(texts)}], append=self._began, last=last)
        self._began = True
        return [self._piece(piece)]

    def _piece(self, piece: Piece) -> Event:
        return artifact(piece.artifact_id, self._name, piece.parts, append=piece.append, last=piece.last)
