"""Python programs in processes of their own, forked from one parent that has loaded what nodes load: that alone takes
three seconds of a processor."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import CompletedProcess

PR_SET_PDEATHSIG = 1
_PARENT = multiprocessing.get_context("forkserver")
_PARENT.set_forkserver_preload(
    [
        *("agentnode.app", "agentnode.server", "agentnode.api.chat", "agentnode.payments.schemes.signer"),
        *("agentnode.devchain.serve", "eth_account", "web3", "uvicorn", "uvloop", "aiosqlite", "asyncpg"),
    ]
)


class Program:
    """`python -m MODULE ARGUMENTS`, which ends with the tests at the latest. `stdin` and `stdout` are pipes of text."""

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        its_stdin, stdin = _PARENT.Pipe(duplex=False)
        stdout, its_stdout = _PARENT.Pipe(duplex=False)
        given = (module, arguments, dict(os.environ if environment is None else environment), log)
        self._process = _PARENT.Process(target=_run, args=(*given, its_stdin, its_stdout), daemon=True)
        self._process.start()
        for end in (its_stdin, its_stdout):
            end.close()
        self.stdin = os.fdopen(os.dup(stdin.fileno()), "w")
        self.stdout = os.fdopen(os.dup(stdout.fileno()))
        for end in (stdin, stdout):
            end.close()

    def tell(self, line: str) -> None:
        self.stdin.write(f"{line}\n")
        self.stdin.flush()

    @property
    def pid(self) -> int:
        return int(self._process.pid or 0)

    @property
    def code(self) -> int | None:
        """None while it runs, and minus the signal that has ended it."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.code is None:
            os.kill(self.pid, number)

    def until_stopped(self) -> None:
        """By SIGSTOP, every thread of it."""
        stats = list(Path(f"/proc/{self.pid}/task").glob("*/stat"))
        while any(stat.read_text().rpartition(")")[2].split()[0] != "T" for stat in stats):
            time.sleep(0.001)

    def wait(self, timeout_s: float = 60) -> int:
        """Its exit code."""
        self._process.join(timeout_s)
        if self.code is None:
            raise TimeoutError(f"process {self.pid} has not ended")
        for pipe in (self.stdin, self.stdout):
            pipe.close()
        return self.code

    def kill(self) -> int:
        """As kill -9."""
        self.send_signal(signal.SIGKILL)
        return self.wait()


def ran(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """What it said until it had ended."""
    with tempfile.NamedTemporaryFile("r") as stderr:
        program = Program(module, *arguments, environment=environment, log=Path(stderr.name))
        stdout = program.stdout.read()
        return CompletedProcess([module, *arguments], program.wait(), stdout, stderr.read())


def _run(
    module: str,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    log: Path | None,
    stdin: Connection,
    stdout: Connection,
) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(stdin.fileno(), 0)
    os.dup2(stdout.fileno(), 1)
    for end in (stdin, stdout):
        end.close()
    if log is not None:
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, 2)
        os.close(written)
    sys.stdin = os.fdopen(0)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    if module != "agentnode.devchain":
        sys.setrecursionlimit(1_000)  # the chain's libraries have raised it, for all that is forked
    runpy.run_module(module, run_name="__main__")
