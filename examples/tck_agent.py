"""An agent that plays the parts that the A2A test suites ask for: `make tck` runs them against it.

    python examples/tck_agent.py PORT FOLDER [DATABASE_URL [ORIGIN]]

Several of them on one folder and PostgreSQL are workers of one agent, which is found at ORIGIN. It is the node's A2A
room with skills of its own, nothing to pay and nobody to know. What it does is chosen by the message's id, as both
suites agree: `tck-...` by the scenarios of the suite for 1.0; everything else waits for more input, since the suite for
0.3 goes on with whatever it began.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request

from agentnode.a2a import (
    INPUT_MODES,
    Answer,
    Done,
    Incoming,
    NeedsInput,
    Piece,
    Rejected,
    Skill,
    Skills,
    TaskRuntime,
    Work,
    agent_card,
    push_body,
    routes,
)
from agentnode.migrations import LOCATIONS
from agentnode.push import PushConfigs, PushSender
from ledger.accounts import ANONYMOUS, Caller
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.ids import new_id
from ledger.vault import Vault
from ledger.work import Idempotency, Outbox, Rates
from trust.keys import NodeKeys
from trust.web import GuardedClient

LOOPBACK = ["127.0.0.1/32", "::1/128"]
LONG_S = 5.0
# The suite for 1.0 sends this type and expects that it is taken (its CORE-SEND-003 forgot to expect the refusal).
READS = [*INPUT_MODES, "application/x-unsupported-tck-type"]

FILE = {"raw": "ZmlsZQ==", "filename": "output.txt", "mediaType": "text/plain"}
FILE_URL = {"url": "https://example.com/output.txt", "filename": "output.txt", "mediaType": "text/plain"}
# The first that the message's id begins with: `file-url` stands before `file`.
SCENARIOS: list[tuple[str, list[Answer]]] = [
    ("tck-complete-task", [Done("Hello from TCK")]),
    ("tck-artifact-text", ["Generated text content"]),
    ("tck-artifact-file-url", [Piece([FILE_URL])]),
    ("tck-artifact-file", [Piece([FILE])]),
    ("tck-artifact-data", [Piece([{"data": {"key": "value", "count": 42}}])]),
    ("tck-input-required", [NeedsInput("What else?")]),
    ("tck-reject-task", [Rejected("rejected")]),
    ("tck-stream-001", ["Stream hello from TCK"]),
    ("tck-stream-002", [Done("")]),
    ("tck-stream-003", ["Stream task lifecycle"]),
    ("tck-stream-ordering-001", ["Ordered output"]),
    ("tck-stream-artifact-text", ["Streamed text content"]),
    ("tck-stream-artifact-file", [Piece([FILE])]),
    (
        "tck-stream-artifact-chunked",
        [Piece([{"text": "chunk-1 "}], last=False), Piece([{"text": "chunk-2"}], append=True)],
    ),
    ("tck-", [Done("")]),
    ("", [NeedsInput("What else?")]),
]


async def play(work: Work) -> AsyncGenerator[Answer, None]:
    message_id = work.message["messageId"]
    if message_id.startswith("test-resubscribe-message-id"):
        yield "Working."
        await asyncio.sleep(LONG_S)
        return
    for answer in next(answers for prefix, answers in SCENARIOS if message_id.startswith(prefix)):
        yield answer


async def say(work: Work) -> str:
    return "Direct message response"


class TckSkills(Skills):
    """The message's id chooses, where a node goes by its metadata."""

    def of(self, incoming: Incoming) -> Skill:
        return self.named("say" if incoming.message["messageId"].startswith("tck-message-response") else "play")


async def nobody(_: Request) -> Caller:
    return ANONYMOUS


async def serve(port: int, database_url: str, folder: Path, origin: str) -> None:
    clock, database = SystemClock(), Database(database_url)
    await database.upgrade(LOCATIONS)
    keys, web = NodeKeys.open(folder / "keys", "tck"), GuardedClient(LOOPBACK)
    vault = Vault(database, clock, keys)
    outbox = Outbox(database, clock, "push", Rates(tenant=6_000, host=6_000))
    pushes = PushConfigs(database, vault, clock, outbox, web)
    skills = TckSkills(
        [
            Skill("play", "Play", "Plays a part of the test suites.", play, input_modes=READS),
            Skill("say", "Say", "Answers with a message.", say, direct=True),
        ]
    )
    idempotency = Idempotency(database, clock, vault)
    runtime = TaskRuntime(
        *(database, vault, clock, idempotency, new_id("proc"), None, skills, f"{origin}/api/a2a", pushes)
    )
    sender = PushSender(outbox, pushes, web, clock, keys, push_body(runtime))
    card = agent_card("tck agent", "Plays the parts that the A2A test suites ask for.", "1.0.0", origin, skills)
    app = Starlette(routes=routes(runtime, card, nobody, clock.now_us(), keys.sign))

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    await runtime.start()
    pushing = asyncio.create_task(sender.run())
    print(f"ready {origin} {os.getpid()}", flush=True)
    await uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).serve([listening])
    pushing.cancel()
    await runtime.close()
    await web.aclose()
    await database.close()


if __name__ == "__main__":
    port, folder, *more = sys.argv[1:]
    url, origin = [*more, *[f"sqlite:///{folder}/tck.db", f"http://127.0.0.1:{port}"][len(more) :]]
    asyncio.run(serve(int(port), url, Path(folder), origin))
