"""The page of attacks names tests that exist, and a defence for each."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import HOUSE, page, rows

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_ATTACKS = [row for row in rows(page("attacks.md")) if row[0] != "Attack"]


def test_each_attack_has_a_test_that_exists_and_a_defence() -> None:
    """A test that is renamed, or an attack without one, fails here."""
    assert len(_ATTACKS) > 30
    for attack, tests, defence, _behind in _ATTACKS:
        named = _TEST.findall(tests)
        assert named and defence, attack
        for path, name in named:
            functions = {each.name for each in ast.walk(ast.parse((HOUSE / path).read_text())) if hasattr(each, "name")}
            assert name in functions, f"{attack}: {path}::{name}"
