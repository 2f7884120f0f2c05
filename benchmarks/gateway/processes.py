"""Processes of the benchmark: started until ready, measured with all their children, ended."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.gateway.measured import NotMeasured

READY_TIMEOUT_S = 90


@contextlib.contextmanager
def started(command: Sequence[str | Path], environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """A server of ours, which prints `ready URL`; its URL and process id."""
    child = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert child.stdout is not None and child.stderr is not None
        word, _, url = child.stdout.readline().strip().partition(" ")
        if word != "ready":
            raise NotMeasured(f"did not start: {child.stderr.read()[-1_000:]}")
        yield url, child.pid
    finally:
        _end(child)


@contextlib.contextmanager
def listening(
    command: Sequence[str | Path], environment: dict[str, str], port: int, path: str, folder: Path
) -> Iterator[tuple[str, int]]:
    """A server of others on a port of our choice, ready when `path` answers with anything."""
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
        try:
            ends = time.monotonic() + READY_TIMEOUT_S
            while not _answers(url + path):
                if child.poll() is not None or time.monotonic() > ends:
                    log.seek(0)
                    raise NotMeasured(f"did not start: {log.read()[-1_000:]}")
                time.sleep(0.2)
            yield url, child.pid
        finally:
            _end(child)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and its living children."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and its children."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _end(child: subprocess.Popen) -> None:
    child.terminate()
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
