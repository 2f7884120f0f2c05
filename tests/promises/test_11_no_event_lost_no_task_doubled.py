"""Promise 11: no event is lost and no task doubled, whichever worker dies, whoever sends again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import text

from ledger.database import Database
from tests.a2a.a2a_world import message
from tests.devchain.devchain_process import ChainProcess
from tests.forked import Program
from tests.promises import counting
from tests.rounds import LONG
from tests.scenarios.node_process import payload_for, usdc

pytestmark = [pytest.mark.database] if LONG else []
STREAMS, ROUNDS = (20, 10) if LONG else (6, 1)
HEADERS = {"A2A-Version": "1.0"}
COUNTING = counting.__file__
WHOLE = "".join(f"{number}," for number in range(counting.COUNT))


@contextlib.asynccontextmanager
async def worker(
    database: Database, owner: str, *paid_at: str, of_a_node: bool = False
) -> AsyncIterator[tuple[str, Program]]:
    """One that counts, paid with a folder and a chain; or a node of them, as `agentnode up` starts it."""
    url = database.url.render_as_string(hide_password=False).replace("+aiosqlite", "").replace("+asyncpg", "")
    command, environment = ["tests.promises.counting_worker", url, owner, *paid_at], dict(os.environ)
    if of_a_node:
        folder, chain = paid_at
        command = ["agentnode.cli", "up", "--port", "0", "--data", folder, "--chain", chain, "--skills", COUNTING]
        environment["AGENTNODE_DATABASE_URL"] = url
    process = Program(*command, environment=environment)
    try:
        yield (await asyncio.to_thread(process.stdout.readline)).split()[1], process
    finally:
        process.kill()


async def read(http: httpx.AsyncClient, origin: str, method: str, params: Any, seen: list[Any], **headers: str) -> None:
    """The stream's events with their ids, until it ends or breaks."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    event_id = 0
    with contextlib.suppress(httpx.HTTPError):
        async with http.stream("POST", f"{origin}/api/a2a", json=body, headers={**HEADERS, **headers}) as answer:
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    event_id = int(value)
                elif name == "data":
                    answered = json.loads(value)
                    seen.append((event_id, answered.get("result", answered)))


def said(steps: list[Any]) -> str:
    """The text that the events add up to; a piece that does not append begins anew."""
    whole = ""
    for _, step in steps:
        if "artifactUpdate" in step:
            update = step["artifactUpdate"]
            piece = update["artifact"]["parts"][0]["text"]
            whole = whole + piece if update.get("append") else piece
    return whole


async def test_a_worker_dies_and_who_listens_goes_on_at_another(
    database: Database, record_property: Callable[[str, object], None]
) -> None:
    """With the last event's id: every number once, in order, over the death; and what they say is the task."""
    events = 0
    async with httpx.AsyncClient(timeout=60, verify=False) as http, worker(database, "b") as (there, _):
        for number in range(ROUNDS):
            async with worker(database, f"a{number}") as (here, dying):
                streams: list[list[Any]] = [[] for _ in range(STREAMS)]
                asked = [{"message": message("x", str(uuid.uuid4()))} for _ in streams]
                reading = [
                    asyncio.create_task(read(http, here, "SendStreamingMessage", params, seen))
                    for params, seen in zip(asked, streams, strict=True)
                ]
                while any(not said(s) and not r.done() for s, r in zip(streams, reading, strict=True)):
                    await asyncio.sleep(0.01)
                dying.send_signal(signal.SIGKILL)
                await asyncio.gather(*reading)
            events += sum([await _goes_on(http, there, seen) for seen in streams])
    record_property("figure", f"{ROUNDS * STREAMS} streams over a death, {events} events, each once")


async def _goes_on(http: httpx.AsyncClient, origin: str, seen: list[Any]) -> int:
    task_id, last = seen[0][1]["task"]["id"], seen[-1][0]
    rest: list[Any] = []
    await read(http, origin, "SubscribeToTask", {"id": task_id}, rest, **{"Last-Event-ID": str(last)})
    whole = [*seen, *rest]
    numbers = [number for number, _ in whole]
    assert numbers == list(range(1, len(numbers) + 1))
    assert whole[-1][1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    body = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": task_id}}
    task = (await http.post(f"{origin}/api/a2a", json=body, headers=HEADERS)).json()["result"]
    assert task["artifacts"][0]["parts"][0]["text"] == said(whole) == WHOLE
    again: list[Any] = []
    await read(http, origin, "SubscribeToTask", {"id": task_id}, again, **{"Last-Event-ID": "4"})
    assert again == whole[4:]
    return len(whole)


@dataclass
class Purchase:
    """One payer's task: what it asks, what was signed for it, and the events that its payer has seen."""

    account: LocalAccount
    task_id: str
    payment: dict[str, Any]
    seen: list[Any] = field(default_factory=list)

    @property
    def last(self) -> str:
        return str(self.seen[-1][0])


async def rpc(http: httpx.AsyncClient, origin: str, method: str, params: Any) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer: dict[str, Any] = (await http.post(f"{origin}/api/a2a", json=body, headers=HEADERS)).json()
    return answer


async def asked(http: httpx.AsyncClient, origin: str, chain: ChainProcess) -> Purchase:
    """A task that waits for its price, and the payment signed."""
    account = await asyncio.to_thread(chain.funded, "1")
    params = {"message": message("x", str(uuid.uuid4()), metadata={"skill": "count"})}
    task = (await rpc(http, origin, "SendMessage", params))["result"]["task"]
    required = task["status"]["message"]["metadata"]["x402.payment.required"]["accepts"][0]
    payload = await asyncio.to_thread(payload_for, chain, account, required)
    metadata = {"x402.payment.status": "payment-submitted", "x402.payment.payload": payload}
    paid = message("paid", str(uuid.uuid4()), taskId=task["id"], metadata=metadata)
    return Purchase(account, task["id"], {"message": paid})


async def pay(http: httpx.AsyncClient, origin: str, bought: Purchase) -> None:
    await read(http, origin, "SendStreamingMessage", bought.payment, bought.seen)


@pytest.mark.database("postgres")
@pytest.mark.parametrize("of_nodes", [False, True] if LONG else [False])
@pytest.mark.parametrize("leads", [False, True] if LONG else [False])
async def test_a_worker_dies_and_no_paid_task_is_lost(
    database: Database,
    chain: ChainProcess,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    leads: bool,
    of_nodes: bool,
) -> None:
    """Killed while it settles for some and works for others: at the other worker each payer goes on behind its last
    event and misses none, each task is done and paid once, and who saw nothing yet sends its payment again."""
    where = (str(tmp_path / "node"), chain.url)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=60, verify=False))

        async def start(owner: str) -> tuple[str, Program]:
            return await stack.enter_async_context(worker(database, owner, *where, of_a_node=of_nodes))

        # Who starts first leads the queue of the node's sending key.
        if leads:
            (here, dying), (there, _) = await start("a"), await start("b")
        else:
            (there, _), (here, dying) = await start("b"), await start("a")
        both = [await asyncio.gather(*(asked(http, here, chain) for _ in range(STREAMS))) for _ in range(2)]
        reading = [asyncio.create_task(pay(http, here, each)) for each in both[0]]
        await until(lambda: any(said(each.seen) for each in both[0]), both[0])
        reading += [asyncio.create_task(pay(http, here, each)) for each in both[1]]
        await until(lambda: any(each.seen for each in both[1]), both[1])
        dying.send_signal(signal.SIGKILL)
        await asyncio.gather(*reading)
        bought = [*both[0], *both[1]]
        unseen, cut = sum(not each.seen for each in bought), sum(not ended(each) for each in bought)
        events = sum(await asyncio.gather(*(_ends_at(http, there, database, chain, each) for each in bought)))
    record_property("figure", f"{len(bought)} paid tasks over a death, {cut} cut off, {unseen} unseen, {events} events")


async def until(reached: Callable[[], bool], bought: list[Purchase]) -> None:
    try:
        async with asyncio.timeout(60):
            while not reached():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"so far their payers have seen {[each.seen[-1:] for each in bought]}")


def ended(bought: Purchase) -> bool:
    return bool(bought.seen) and "COMPLETED" in json.dumps(bought.seen[-1][1])


async def _ends_at(
    http: httpx.AsyncClient, origin: str, database: Database, chain: ChainProcess, bought: Purchase
) -> int:
    """How many events the task has, once it has ended and everything about it is as promised."""
    while not bought.seen or "error" in bought.seen[-1][1]:  # it is in the hands of who is gone, for a while yet
        bought.seen.clear()
        await pay(http, origin, bought)
        if bought.seen and "error" in bought.seen[-1][1]:
            assert "SETTLEMENT_PENDING" in json.dumps(bought.seen) or "TASK_BUSY" in json.dumps(bought.seen)
    if not ended(bought):
        rest: list[Any] = []
        params = {"id": bought.task_id}
        await read(http, origin, "SubscribeToTask", params, rest, **{"Last-Event-ID": bought.last})
        bought.seen += rest
    whole: list[Any] = []
    await read(http, origin, "SubscribeToTask", {"id": bought.task_id}, whole, **{"Last-Event-ID": "0"})
    first, *live = bought.seen
    assert live == [step for step in whole if step[0] > first[0]]
    states = [step["statusUpdate"]["status"]["state"] for _, step in whole if "statusUpdate" in step]
    assert states.count("TASK_STATE_COMPLETED") == 1 and states[-1] == "TASK_STATE_COMPLETED"
    task = (await rpc(http, origin, "GetTask", {"id": bought.task_id}))["result"]
    assert task["artifacts"][0]["parts"][0]["text"] == said(whole) == WHOLE
    assert len(task["status"]["message"]["metadata"]["x402.payment.receipts"]) == 1
    assert await asyncio.to_thread(usdc, chain, bought.account.address) == 990_000
    async with database.read() as session:
        numbered = text("SELECT seq FROM task_event WHERE task_id = :id ORDER BY seq")
        rows = (await (await session.connection()).execute(numbered, {"id": bought.task_id})).scalars().all()
    assert rows == list(range(1, len(rows) + 1))
    return len(rows)


async def test_sent_again_is_one_task(database: Database) -> None:
    """Twenty times in parallel at two workers: one task by its key, and one by its message's id while it is open."""

    async def send(http: httpx.AsyncClient, origin: str, params: dict[str, Any], **headers: str) -> str:
        body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
        answer = (await http.post(f"{origin}/api/a2a", json=body, headers={**HEADERS, **headers})).json()
        return str(answer["result"]["task"]["id"])

    at_once = {"returnImmediately": True}
    async with httpx.AsyncClient(timeout=60, verify=False) as http:
        async with worker(database, "a") as (one, _), worker(database, "b") as (two, _):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            keyed = [{"message": message("x", f"m{n}"), "configuration": at_once} for n in range(20)]
            ids = await asyncio.gather(
                *(send(http, (one, two)[n % 2], params, **key) for n, params in enumerate(keyed))
            )
            assert len(set(ids)) == 1
            bare = {"message": message("x", str(uuid.uuid4())), "configuration": at_once}
            ids = await asyncio.gather(*(send(http, (one, two)[n % 2], bare) for n in range(20)))
            assert len(set(ids)) == 1
