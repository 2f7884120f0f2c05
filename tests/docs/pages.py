"""The documentation as the tests read it: pages, tables and code blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent
PACKAGES = ("ledger", "trust", "engine", "mandates", "bazaar", "agentnode")
PAGES = [
    HOUSE / "README.md",
    HOUSE / "CONTRIBUTING.md",
    HOUSE / "CHANGELOG.md",
    *sorted((HOUSE / "docs").rglob("*.md")),
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    page: Path
    language: str
    text: str


def page(name: str) -> str:
    return (HOUSE / "docs" / name).read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of every table's rows, heads and rules left out; a cell keeps its backticks."""
    found = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in found if not set("".join(cells)) <= set("-: ")]


def spans(text: str) -> list[str]:
    """What stands in single backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def blocks(*pages: Path, language: str) -> list[Block]:
    found = [Block(each, *match) for each in pages or PAGES for match in _BLOCK.findall(each.read_text())]
    return [block for block in found if block.language == language]


def sources(*folders: str) -> str:
    """The Python text of folders or files of the house, one after the other."""
    paths = [HOUSE / folder for folder in folders]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    return "\n".join(file.read_text() for file in files)
