"""Promise 9: "cannot check" is never "allowed": without its database a node asks no upstream, and says 503."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url

from engine import Call, Catalog, CompletionRequest, Engine, Providers, Upstream, UpstreamModel
from engine.errors import DailyLimitExceeded, RateLimitExceeded
from engine.providers import OpenAICompatible
from ledger.accounts import NewSession, Sessions
from ledger.database import Database
from ledger.errors import SessionExpired
from ledger.events import Events
from ledger.vault import Vault
from tests.ledger.accounts.world import ACME, opened
from tests.ledger.parts import MemoryKey
from tests.scenarios.gateway import Gateway, upstream_table
from tests.upstream import FakeUpstream


@contextlib.contextmanager
def unreachable(url: str) -> Iterator[None]:
    """PostgreSQL: all connections are ended, and no new one is let in. SQLite: another process keeps the write lock."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with Path(f"{path}.gate").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield
        return
    name, server = make_url(url).database, make_url(url).set(database="postgres")

    async def let_in(whom: str) -> None:
        connection = await asyncpg.connect(server.render_as_string(hide_password=False))
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {whom}')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        await connection.close()

    asyncio.run(let_in("false"))
    yield
    asyncio.run(let_in("true"))


@pytest.mark.database
def test_without_its_database_a_node_answers_503_and_asks_no_upstream(
    database_url: str, upstream: FakeUpstream, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Whole or streamed, of who was here before or not; and it serves again once the database does."""
    node = Gateway(tmp_path / "node", [upstream_table("mock", upstream.api, "m1")], database_url=database_url)
    user, stranger = node.user("acme"), node.user("other")
    session_id = user.session("1")
    assert user.chat("hello").status_code == 200
    before = upstream.count

    with unreachable(node.settings.database), ThreadPoolExecutor(2) as pool:
        asking = [
            pool.submit(user.chat, "hello", p402={"session_id": session_id}),
            pool.submit(stranger.chat, "hello", stream=True),
        ]
        answers = [each.result() for each in asking]

    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (
            *(503, "DATABASE_UNAVAILABLE", "unavailable_error"),
        ), answer.text
        assert answer.headers["Retry-After"] and "x-should-retry" not in answer.headers
    assert upstream.count == before
    record_property("figure", f"{len(answers)} calls of which none left")
    for by in (user, stranger):
        while by.chat("hello").status_code == 503:
            pass
        assert by.chat("hello").status_code == 200
    assert user.ask("GET", f"/sessions/{session_id}")["budget"]["held_usd"] == 0
    assert node.stop() == 0


@contextlib.asynccontextmanager
async def engine_of(database: Database, upstream: FakeUpstream, spend: object, clock: object) -> AsyncIterator[Engine]:
    mock = Upstream("mock", upstream.api, models=(UpstreamModel("m1", 10**9, 2 * 10**9, max_output=100),))
    made = Engine(
        *(spend, Events(database), Vault(database, clock, MemoryKey())),  # type: ignore[arg-type]
        *(Catalog.load([mock]), Providers([OpenAICompatible(mock, None)]), clock),  # type: ignore[arg-type]
    )
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [({"requests_per_hour": 1}, RateLimitExceeded), ({"usd_per_day": "0.0005"}, DailyLimitExceeded)],
)
async def test_a_clock_that_jumps_back_reopens_no_limit(
    database: Database, upstream: FakeUpstream, limits: dict[str, object], refusal: type[Exception]
) -> None:
    """By an hour, a day, a year; in a process that has just started too."""
    request = CompletionRequest([{"role": "user", "content": "hello"}], "m1", 100)
    upstream.behave({"usage": {"prompt_tokens": 100, "completion_tokens": 100}})
    async with opened(database) as world, engine_of(database, upstream, world.spend, world.clock) as engine:
        await world.says("operator", "acme", {"limits": limits})
        await engine.complete(request, await world.book.open(ACME), Call("req_1"))
        for jump_s in (1, 3_600, 86_400, 365 * 86_400):
            world.clock.pass_s(-jump_s)
            for book in (world.book, world.another_book()):
                with pytest.raises(refusal):
                    await engine.complete(request, await book.open(ACME), Call("req_2"))
        assert upstream.count == 1


async def test_a_clock_that_jumps_ahead_ends_a_session(database: Database) -> None:
    """Rather early than late."""
    async with opened(database) as world:
        sessions = Sessions(database, world.clock, world.book, True)
        made = await sessions.create(ACME, NewSession(10**9, expires_in_s=3_600))
        await world.book.open(ACME, made.id)
        world.clock.pass_s(3_600)
        with pytest.raises(SessionExpired):
            await world.book.open(ACME, made.id)
