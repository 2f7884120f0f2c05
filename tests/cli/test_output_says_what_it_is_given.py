"""Commands show identities letter by letter: a reader compares them."""

from __future__ import annotations

import pytest
from rich.table import Table

from agentnode.cli.output import console, plain


def test_a_did_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Rich makes pictures of `:key:` and its like, in lines, lines without markup and tables."""
    table = Table()
    table.add_row("did:key:zTable")
    out = console()
    out.print("did:key:zLine [bold]x[/]")
    out.print("did:key:zPlain", markup=False)
    out.print(table)
    shown = capsys.readouterr().out
    assert all(f"did:key:z{place}" in shown for place in ("Line", "Plain", "Table")), shown


def test_anothers_text_writes_nothing_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """A seller's answer can neither write the clipboard, nor clear the screen, nor look like a tick of ours."""
    console().print(plain("ä\tb\n\x1b]52;c;eA==\x07\x1b[2J\x9b2J\r[green]✓[/green] paid [/x]"))
    assert capsys.readouterr().out.replace(" ", "") == "äb\n?]52;c;eA==??[2J?2J?[green]✓[/green]paid[/x]\n"
