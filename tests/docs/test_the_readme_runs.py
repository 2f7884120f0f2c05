"""What the README tells a stranger to type works, in its order, against a node started as it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import HOUSE, blocks

README = HOUSE / "README.md"
SHOWN = "http://127.0.0.1:8402"
SHELL = [block.text for block in blocks(README, language="sh")]
CURLS = [text for text in SHELL if text.startswith("curl ")]
PYTHON = [block.text for block in blocks(README, language="python")]
pytestmark = pytest.mark.xdist_group("readme")


class Stranger:
    """Somebody in a folder of their own with a node on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ours = ("AGENTNODE_", "P402_", "OPENAI_", "OPENROUTER_")
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._environment["PYTHONPATH"] = str(HOUSE)
        command = [sys.executable, "-m", "agentnode.cli", "up", "--port", "0"]
        with (folder / "node.log").open("w") as log:
            self._node = subprocess.Popen(
                command, cwd=folder, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._node.stdout is not None
        word, _, self._url = self._node.stdout.readline().strip().partition(" ")
        assert word == "ready", (folder / "node.log").read_text()

    def types(self, text: str, **environment: str) -> str:
        """What shell commands print, with the paths and the address of this test. Fails where one of them fails."""
        command = text.replace(SHOWN, self._url).replace(".venv/bin/agentnode", f"{sys.executable} -m agentnode.cli")
        return self._run(["sh", "-e", "-c", command], environment)

    def runs(self, text: str, **environment: str) -> str:
        """What a Python program prints."""
        return self._run([sys.executable, "-c", text.replace(SHOWN, self._url)], environment)

    def leaves(self) -> int:
        self._node.terminate()
        return self._node.wait(timeout=60)

    def _run(self, command: list[str], environment: dict[str, str]) -> str:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env={**self._environment, **environment},
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stranger]:
    someone = Stranger(tmp_path_factory.mktemp("stranger"))
    yield someone
    assert someone.leaves() == 0


def test_three_curl_commands_show_the_card_a_free_task_and_a_price(stranger: Stranger) -> None:
    """As the README says: the second completes, the third is asked for the price of `ask`."""
    card, free, priced = (json.loads(stranger.types(command)) for command in CURLS)
    assert [skill["id"] for skill in card["skills"]] == ["echo", "ask"]
    assert free["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert priced["result"]["status"]["state"] == "input-required"
    assert "x402.payment.required" in priced["result"]["status"]["message"]["metadata"]


def test_openais_api_answers_within_a_session(stranger: Stranger) -> None:
    """A key, a session with a budget, a completion in it; asked again in the same words it is free."""
    (story,) = [text for text in SHELL if "/v1/chat/completions" in text]
    again = story + "\n" + story[story.index("curl -s http://127.0.0.1:8402/v1/chat") :]
    first, second = (json.loads(line) for line in stranger.types(again).replace("}{", "}\n{").splitlines())
    assert first["p402_metadata"]["provider"] == "offline" and float(first["p402_metadata"]["cost_usd_exact"]) > 0
    assert second["p402_metadata"]["cached"] and second["p402_metadata"]["cost_usd_exact"] == "0"
    assert first["choices"] == second["choices"]


def test_a_hire_from_the_command_line_ends_with_a_proof_that_holds(stranger: Stranger) -> None:
    """Wallet, money, mandate, hire, verify; then the same from Python with a key, on the day's cap."""
    (story,) = [text for text in SHELL if "mandate grant" in text]
    printed = stranger.types(story)
    assert "paid 0.01 USD" in printed
    assert "holds: " in printed
    key = stranger.types(".venv/bin/agentnode keys create readme").strip()
    over_http = next(text for text in PYTHON if "P402_API_KEY" in text)
    assert stranger.runs(over_http, P402_API_KEY=key).startswith("completed 0.01 0x")


def test_an_existing_a2a_client_pays_with_the_x402_package(stranger: Stranger) -> None:
    """Neither library is told anything of this node but its URL."""
    client = next(text for text in PYTHON if "create_client" in text)
    assert "\npaid in 0x" in stranger.runs(client)
