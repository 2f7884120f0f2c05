"""One node under test, with its gate, its skills and a bare client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from a2a_world import Rpc, Stage, TestGate, a_runtime, served, served_app
from round_robin import front

from agentnode.a2a import TaskRuntime
from ledger.clock import SystemClock
from ledger.database import Database
from tests.rounds import LONG


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def gate() -> TestGate:
    return TestGate(SystemClock())


@pytest.fixture
async def runtime(database: Database, stage: Stage, gate: TestGate) -> TaskRuntime:
    return a_runtime(database, stage, gate)


@pytest.fixture(params=[1, 2] if LONG else [1])
async def origin(
    request: pytest.FixtureRequest, runtime: TaskRuntime, database: Database, stage: Stage, gate: TestGate
) -> AsyncIterator[str]:
    """Of the node; of two workers on one database, which get each its turn, in the long rounds."""
    if request.param == 1:
        async with served(runtime) as where:
            yield where
        return
    second = a_runtime(database, stage, gate, owner="two")
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        where = f"http://127.0.0.1:{listening.getsockname()[1]}"
        workers = [await stack.enter_async_context(served(each, where)) for each in (runtime, second)]
        await stack.enter_async_context(served_app(lambda _: front(workers), listening))
        yield where


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=False) as client:
        yield client


@pytest.fixture
def rpc(http: httpx.AsyncClient, origin: str) -> Rpc:
    return Rpc(http, origin)


@pytest.fixture
def rpc03(http: httpx.AsyncClient, origin: str) -> Rpc:
    return Rpc(http, origin, version=None)
