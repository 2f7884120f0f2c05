"""Inside a transaction only the database is awaited: on SQLite it holds the one write lock, anywhere it holds rows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOUSE = Path(__file__).parent.parent
_PACKAGES = ("ledger", "trust", "engine", "mandates", "bazaar", "agentnode")
_SLOW = {
    *("httpx", "aiohttp", "web", "client", "chain", "facilitator"),
    *("engine", "provider", "providers", "spend", "sleep"),
}
"""Whatever is handed to them. The spend path has its own connection, and would wait for the lock held here."""


def test_no_package_awaits_anything_slow_in_a_transaction() -> None:
    """Each `await` in a block of `.read()` or `.write()` is given its session, and is nothing slow by name."""
    found = []
    blocks = 0
    for package in _PACKAGES:
        for path in sorted((_HOUSE / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            blocks += sum(1 for _ in _transactions(tree))
            found += [f"{path.relative_to(_HOUSE)}:{line}" for line in _wrong_lines(tree)]
    assert found == []
    assert blocks > 10, "the rule looked at nothing: has the way to open a transaction another name now?"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("await session.execute(q)", False),
        ("rows = (await session.exec(q)).all()", False),
        ("await self._vault.put(session, data)", False),
        ("connection = await session.connection()\n        await connection.execute(q)", False),
        ("await self._web.get(url)", True),
        ("await self._spend.capture(hold_id, 1)", True),
        ("await engine.complete(session, request)", True),
        ("await asyncio.sleep(1)", True),
        ("await self._check(url)", True),
        ("async with httpx.AsyncClient() as client:\n            pass", True),
        ("async for chunk in self._provider.stream(session):\n            pass", True),
        ("async for row in await session.stream(q):\n            pass", False),
        ("if x:\n            for y in z:\n                row = await self._chain.head()", True),
    ],
)
def test_the_rule_tells_slow_from_quick(body: str, wrong: bool) -> None:
    """So that the rule itself is known to see what it forbids."""
    code = f"async def f(self):\n    async with self._database.write() as session:\n        {body}\n"
    assert bool(list(_wrong_lines(ast.parse(code)))) is wrong


def _wrong_lines(tree: ast.AST) -> Iterator[int]:
    for block, session in _transactions(tree):
        known = {session}
        for statement in block.body:
            for node in ast.walk(statement):
                if isinstance(node, ast.Assign) and known & _names(node.value):
                    known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        for statement in block.body:
            for node in ast.walk(statement):
                awaited = _awaited(node)
                if awaited is not None and (not known & _names(awaited) or _SLOW & _words(awaited)):
                    yield awaited.lineno


def _transactions(tree: ast.AST) -> Iterator[tuple[ast.AsyncWith, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith):
            for item in node.items:
                call = item.context_expr
                opens = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and not call.args
                if opens and call.func.attr in ("read", "write"):  # type: ignore[attr-defined]
                    yield node, item.optional_vars.id if isinstance(item.optional_vars, ast.Name) else ""


def _awaited(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.Await():
            return node.value
        case ast.AsyncFor():
            return node.iter
        case ast.AsyncWith():
            return node.items[0].context_expr
    return None


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _words(awaited: ast.expr) -> set[str]:
    """The words of what is called, not of what it is given: `self._web.get` has `web` and `get`."""
    called = awaited.func if isinstance(awaited, ast.Call) else awaited
    attributes = {inner.attr for inner in ast.walk(called) if isinstance(inner, ast.Attribute)}
    return {word for name in attributes | _names(called) for word in name.strip("_").lower().split("_")}
