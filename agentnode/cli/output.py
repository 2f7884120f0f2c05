"""How commands speak: Rich for people, one JSON document for programs, one sentence for an error."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

REFUSED, UNCLEAR = 1, 3
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""But for line's end and tab."""


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False)  # Rich would show `did:key:` with a picture


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def fail(message: str, as_json: bool = False, exit_code: int = REFUSED) -> NoReturn:
    """End with one sentence on stderr, or the error object on stdout for programs."""
    if as_json:
        code, _, _ = message.partition(":")
        print_json({"error": {"code": code, "message": message}})
    else:
        console(stderr=True).print(f"[bold red]✗[/] {plain(message)}", soft_wrap=True)
    raise typer.Exit(exit_code)


def plain(text: str) -> str:
    """Another's text: no markup of it, and nothing that moves a terminal, may write what would be taken for ours."""
    from rich.markup import escape

    return escape(_CONTROL.sub("?", text))
