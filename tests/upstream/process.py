"""Starts the upstream as a process of its own, and asks and tells it things over HTTP."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from tests.forked import Program
from tests.upstream.faults import FaultScript


class FakeUpstream:
    """A running upstream. `url` has no path; the base URL of its API is `api`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.api = f"{url}/v1"
        # One for all questions: a client is dear to make, for what it reads of certificates.
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False)

    def calls(self) -> dict[str, Any]:
        """What `GET /calls` says: count, waiting, left, violations, bodies."""
        seen: dict[str, Any] = self._http.get("/calls").json()
        return seen

    def asked(self) -> dict[int, list[str]]:
        """By the request's number what its script made of each asking."""
        return {int(number): kinds for number, kinds in self._http.get("/asked").json().items()}

    @property
    def count(self) -> int:
        return int(self.calls()["count"])

    def behave(
        self,
        *following: dict[str, Any],
        always: dict[str, Any] | None = None,
        embeddings: dict[str, Any] | None = None,
    ) -> None:
        told: dict[str, Any] = {"next": list(following)}
        if embeddings is not None:
            told["embeddings"] = embeddings
        if always is not None:
            told["always"] = always
        self._http.post("/behave", json=told).raise_for_status()

    def reset(self) -> None:
        """As if just started."""
        self._http.post("/reset").raise_for_status()

    def open(self) -> None:
        """Lets pass who waits at the gate."""
        self._http.post("/open").raise_for_status()

    def until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Asks until its calls are as wanted; the test's own time limit ends it."""
        while not reached(seen := self.calls()):
            time.sleep(0.005)
        return seen


@contextlib.contextmanager
def run_upstream(api_key: str | None = None, script: FaultScript | None = None) -> Iterator[FakeUpstream]:
    scripted = ["--script", script.written()] if script else []
    process = Program("tests.upstream", "--port", "0", *(["--key", api_key] if api_key else []), *scripted)
    try:
        word, _, url = process.stdout.readline().strip().partition(" ")
        assert word == "ready", word
        yield FakeUpstream(url)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
