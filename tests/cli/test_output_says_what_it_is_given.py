"""Commands show identities letter by letter: a reader compares them."""

from __future__ import annotations

import pytest
from rich.table import Table

from agentnode.cli.output import console


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
