"""Links lead somewhere, examples are of the form they claim, and nothing names what is none of a reader's business."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from pathlib import Path

import pytest

from agentnode import __version__
from tests.docs.pages import HOUSE, PACKAGES, PAGES, Block, blocks

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_FILE = re.compile(rf"`((?:{'|'.join(PACKAGES)}|contracts|tests)/[\w./-]+\.(?:py|sql|sol|json))`")
_READ = ("*.py", "*.md", "*.toml", "*.sol", "*.sql", "*.json", "*.mjs", "*.lock", "Makefile", "run")
_FOLDERS = (*PACKAGES, "docs", "tests", "contracts", "benchmarks", "examples", ".ci")
# In pieces, so that this file is not its own finding.
_UNSAID = re.compile(
    "|".join(
        [
            r"registry\.npm" + r"js\.org",
            r"\bpy" + r"pi\.org",
            r"files\.python" + r"hosted\.org",
            r"(?<![\w./-])/(?:root|home/\w+|work)" + r"/\w",
            r"\b(?i:issue)" + r" #?\d",
        ]
    )
)


def test_links_between_pages_resolve() -> None:
    """A reader who follows one arrives."""
    links = [(page, target) for page in PAGES for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [f"{page.name}: {to}" for page, to in links if not (page.parent / to.partition("#")[0]).exists()] == []


def test_files_that_pages_name_are_there() -> None:
    """A path in backticks is one of this repository's."""
    gone = [f"{page.name}: {path}" for page in PAGES for path in _FILE.findall(page.read_text())]
    gone = [each for each in gone if not (HOUSE / each.partition(": ")[2]).exists()]
    assert gone == []


@pytest.mark.parametrize("block", blocks(language="json"), ids=lambda block: block.page.name)
def test_json_examples_are_json(block: Block) -> None:
    """They can be copied."""
    assert json.loads(block.text)


def test_examples_in_python_compile_and_in_toml_parse() -> None:
    """They can be copied."""
    for block in blocks(language="python"):
        compile(block.text, str(block.page), "exec")
    for block in blocks(language="toml"):
        assert tomllib.loads(block.text)


def test_the_mandates_page_shows_the_vector_that_the_code_makes() -> None:
    """Key, message, digest and signature, as other encoders are held to them; and its code runs."""
    page = HOUSE / "docs" / "mandates.md"
    vectors = json.loads((HOUSE / "tests/trust/vectors/eip712.json").read_text())
    shown = json.loads(blocks(page, language="json")[-1].text)
    first = vectors["vectors"][0]
    assert shown["private_key"] == vectors["private_key"]
    assert shown["constraints_hash"] == vectors["constraints_hash"]
    assert shown["message"] == first["typed_data"]["message"]
    assert (shown["digest"], shown["signature"]) == (first["digest"], first["signature"])
    (code,) = blocks(page, language="python")
    with contextlib.chdir(HOUSE):
        exec(compile(code.text, str(page), "exec"), {})


def test_decisions_are_numbered_without_a_gap_and_have_their_four_parts() -> None:
    """Each is one page of the same form."""
    pages = sorted((HOUSE / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text()
        heads = [line for line in text.splitlines() if line.startswith("## ")]
        assert heads == ["## Context", "## Decision", "## Consequences", "## Also weighed"], page.name
        assert text.startswith(f"# {page.name[:4]}: "), page.name


def test_all_pages_are_reached_from_the_readme() -> None:
    """A page that nothing links to is read by nobody."""
    reached: set[Path] = set()
    waiting = [HOUSE / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [
            (page.parent / target).resolve() for target in _LINK.findall(page.read_text()) if "://" not in target
        ]
    unread = {page.name for page in PAGES} - {page.name for page in reached} - {"CHANGELOG.md"}
    assert unread == set()


def test_the_version_is_one() -> None:
    """The package says it; where the distribution and the changelog say it too, it is the same."""
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert f"\n## {__version__}" in (HOUSE / "CHANGELOG.md").read_text()
    assert [page.name for page in PAGES if __version__ in page.read_text()] == ["CHANGELOG.md"]


def test_nothing_names_a_machine_a_registry_or_an_issue() -> None:
    """Whoever reads or runs this has another machine and another mirror."""
    files = [HOUSE / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml")]
    files += [HOUSE / "requirements.lock"]
    for folder in _FOLDERS:
        found = [file for form in _READ for file in (HOUSE / folder).rglob(form) if "node_modules" not in file.parts]
        files += [file for file in found if file.is_file()]
    said = []
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if match := _UNSAID.search(line):
                said.append(f"{file.relative_to(HOUSE)}:{number}: {match.group()}")
    assert said == []
