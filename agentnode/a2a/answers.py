"""What a skill says besides plain text: pieces of artefacts, a question to its caller, a refusal, a last word. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentnode.a2a.events import ARTIFACT_ID, Event, artifact


@dataclass(frozen=True)
class Piece:
    """A piece of an artefact.

    `parts` are A2A 1.0 JSON: `{"text"}`, `{"data"}`, `{"raw" | "url", "filename", "mediaType"}`.
    `append`: it goes on an artefact of the same id that was said before; `last`: nothing follows on it.
    """

    parts: Sequence[dict[str, Any]]
    artifact_id: str = ARTIFACT_ID
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


class Saying:
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
            made.append(_piece(each, self._name))
        return made + self._text(texts, last)

    def _text(self, texts: Sequence[str], last: bool) -> list[Event]:
        if not texts:
            return []
        event = artifact("".join(texts), name=self._name, append=self._began, last=last)
        self._began = True
        return [event]


def _piece(piece: Piece, name: str) -> Event:
    made = {"artifactId": piece.artifact_id, "name": name, "parts": list(piece.parts)}
    return {"kind": "artifact", "artifact": made, "append": piece.append, "last": piece.last}
