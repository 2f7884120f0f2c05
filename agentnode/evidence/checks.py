"""What a check is, and how one is run on a stranger's bundle: it holds or fails, and never crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentnode.evidence.bundle import Line
from agentnode.evidence.transfers import NotADirectCall
from ledger.errors import AgentNodeError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: where, what, and whether it held."""

    line: int
    kind: str
    claim: str
    ok: bool
    seen: str = ""


class Broken(Exception):
    """A claim of the bundle does not hold; the message says what was seen."""


def equal(name: str, said: object, found: object) -> None:
    if said != found:
        raise Broken(f"{name} says {said}, and it is {found}")


def check(line: Line, claim: str, hold: Callable[..., object], *facts: Any) -> Check:
    """Runs one check. What a stranger's bundle can make it raise is a failed check, never a crash."""
    try:
        hold(*facts)
    except (Broken, AgentNodeError, NotADirectCall) as error:
        return Check(line.number, line.kind, claim, False, str(error))
    except Exception as error:
        return Check(line.number, line.kind, claim, False, f"it cannot be read ({type(error).__name__})")
    return Check(line.number, line.kind, claim, True)
