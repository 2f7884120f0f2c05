"""`agentnode record` keeps how an upstream counts, and no word of what was said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests.forked import ran
from tests.upstream import run_upstream


def _record(tmp_path: Path, environ: dict[str, str], *models: str) -> CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return ran("agentnode.cli", "record", *models, "--folder", str(tmp_path), environment={**clean, **environ})


def test_one_small_call_a_model_becomes_one_example(tmp_path: Path) -> None:
    """OpenAI's form and Anthropic's, each as it came; prompt and answer are in no file."""
    with run_upstream() as upstream:
        environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": upstream.api}
        environ |= {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": upstream.api}
        done = _record(tmp_path, environ, "openai/gpt-4o-mini", "claude-haiku-4-5")
        assert done.returncode == 0, done.stderr
        assert (upstream.count, upstream.calls()["violations"]) == (2, [])
    files = sorted(tmp_path.glob("*.json"))
    assert [file.stem[:-11] for file in files] == ["anthropic-claude-haiku-4-5", "openai-gpt-4o-mini"]
    anthropic, openai = (_read(file) for file in files)
    assert anthropic["usage"].keys() >= {"input_tokens", "cache_read_input_tokens", "output_tokens"}
    assert openai["usage"].keys() >= {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert openai["source"] == "recorded from openai"
    assert not any("yes" in file.read_text().lower() for file in files)


def test_without_a_key_it_says_so(tmp_path: Path) -> None:
    done = _record(tmp_path, {}, "openai/gpt-4o-mini")
    assert done.returncode == 1 and "MODEL_UNAVAILABLE" in done.stderr
    assert not list(tmp_path.glob("*.json"))


def _read(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text())
    return read
