"""One node under test, with its gate, its skills and a bare client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from a2a_world import Rpc, Stage, TestGate, a_runtime, served

from agentnode.a2a import TaskRuntime
from ledger.clock import SystemClock
from ledger.database import Database


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def gate() -> TestGate:
    return TestGate(SystemClock())


@pytest.fixture
async def runtime(database: Database, stage: Stage, gate: TestGate) -> TaskRuntime:
    return a_runtime(database, stage, gate)


@pytest.fixture
async def origin(runtime: TaskRuntime) -> AsyncIterator[str]:
    async with served(runtime) as where:
        yield where


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def rpc(http: httpx.AsyncClient, origin: str) -> Rpc:
    return Rpc(http, origin)


@pytest.fixture
def rpc03(http: httpx.AsyncClient, origin: str) -> Rpc:
    return Rpc(http, origin, version=None)
