"""The tutorial's agent needs no other change than the base URL; its budget ends it, and not with a crash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.docs.pages import HOUSE, blocks
from tests.scenarios.gateway import Gateway, User, upstream_table
from tests.upstream import FakeUpstream, run_upstream

AGENT = HOUSE / "examples" / "budget_agent.py"
TUTORIAL = HOUSE / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with run_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    node = Gateway(tmp_path_factory.mktemp("tutorial") / "node", [upstream_table("mock", upstream.api, "m1")])
    yield node
    assert node.stop() == 0


def run_agent(user: User, *said: str) -> list[str]:
    """What it prints. Fails where it ends otherwise than by its own will."""
    environment = {**os.environ, "P402_BASE_URL": f"{user.url}/api/v2", "P402_API_KEY": user.key}
    command = [sys.executable, str(AGENT), *said]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_five_questions_of_which_the_cache_answers_one(gateway: Gateway, upstream: FakeUpstream) -> None:
    """As the tutorial's expected output has it: the fourth is free, five requests, one hit, and the sum is right."""
    printed = run_agent(gateway.user("tutorial"))
    labels = [line.strip() for line in printed if line.startswith("  [")]
    assert [label == "[CACHED (free)]" for label in labels] == [False, False, False, True, False]
    costs = [float(re.search(r"\$([\d.]+) via mock", label)[1]) for label in labels if "via" in label]
    assert printed[-3] == f"Total spent: ${sum(costs):.6f} of $5.000000 (active)"
    assert printed[-2:] == ["Requests: 5", "Cache hits: 1"]
    assert upstream.count == 4


def test_past_its_budget_it_shuts_down(gateway: Gateway, upstream: FakeUpstream) -> None:
    """A hundred questions on a thousandth of a dollar: it says so, counts what was served, and spends no more."""
    user = gateway.user("spender")
    printed = run_agent(user, "0.001", *(f"What is {number} in Roman numerals?" for number in range(100)))
    assert "Budget exhausted in mid-run." in printed
    spent, status = re.match(r"Total spent: \$([\d.]+) of \$0.001000 \((\w+)\)", printed[-3]).groups()
    assert 0.0005 < float(spent) <= 0.001 and status == "exhausted"
    (session,) = user.ask("GET", "/sessions?status=exhausted")["data"]
    assert session["budget"]["used_usd"] == float(spent) and session["budget"]["held_usd"] == 0


def test_the_tutorials_page_shows_the_agent_as_it_is(gateway: Gateway, upstream: FakeUpstream) -> None:
    """Each piece of Python on it is a piece of the example, and its commands run."""
    shown = [block.text for block in blocks(TUTORIAL, language="python")]
    assert len(shown) == 4 and all(piece in AGENT.read_text() for piece in shown)
    (commands,) = [block.text for block in blocks(TUTORIAL, language="sh")]
    typed = commands.replace("http://127.0.0.1:8402", gateway.url).replace(".venv/bin/python", sys.executable)
    typed = typed.replace(".venv/bin/agentnode", f"{sys.executable} -m agentnode.cli")
    environment = {**os.environ, "AGENTNODE_DATA": str(gateway.settings.data)}
    done = subprocess.run(
        ["sh", "-e", "-c", typed], cwd=HOUSE, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["Requests: 5", "Cache hits: 1"]
