"""A node's A2A part as the tests run it: real database, vault and runtime; a toll gate of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import uvicorn
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request

from agentnode.a2a import (
    Answer,
    Done,
    Gate,
    Incoming,
    NeedsInput,
    Piece,
    Rejected,
    Skill,
    Skills,
    TaskEnded,
    TaskRuntime,
    Work,
    agent_card,
    echo,
    routes,
    security_schemes,
)
from agentnode.payments import (
    Offer,
    PaymentRefused,
    PaymentRequirement,
    PaymentUnknown,
    QuoteExpired,
    Rate,
    Receipt,
    SettlementPending,
)
from agentnode.payments.asking.task_metadata import Submission
from agentnode.push import PushConfigs
from ledger.accounts import ANONYMOUS, Caller
from ledger.clock import SECOND_US, Clock, SystemClock
from ledger.database import Database
from ledger.errors import KeyInvalid
from ledger.money import NANOS_PER_USD, Asset
from ledger.vault import Vault
from ledger.work import Idempotency, Outbox, Rates
from trust.signatures import didkey, jws
from trust.web import GuardedClient

USDC = Asset("eip155:31337", "0x5FbDB2315678afecb367f032d93F642f64180aa3", "USD Coin", "2", 6, NANOS_PER_USD)
PAYER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SIGNATURE = "0xsecret" + "ab" * 60
ALICE = Caller("alice", "key_a", frozenset({"chat"}), None)
BOB = Caller("bob", "key_b", frozenset({"chat"}), None)


class FixedKey:
    """The same key in every process of a test."""

    def wrap(self, key: bytes) -> bytes:
        return bytes(byte ^ 0x5A for byte in key)

    unwrap = wrap


class TestGate:
    """A toll gate whose journal is a dict: a payload pays if it says so. `at_settling` is awaited in its midst.

    Verifying goes on when whoever asked for it is cut off, as a thread does; `at_verifying` is awaited in its midst.
    """

    __test__ = False

    def __init__(self, clock: Clock, life_s: float = 600) -> None:
        self._clock = clock
        self._life_s = life_s
        self.asked: dict[str, PaymentRequirement] = {}
        self.settled: dict[str, Receipt] = {}
        self.journal: dict[str, str] = {}
        self.rejected: set[str] = set()
        self.booked: list[str] = []
        self.given_back: list[str] = []
        self.at_settling: Callable[[str], Any] | None = None
        self.at_verifying: Callable[[str], Any] | None = None
        self.verifying: set[asyncio.Task[None]] = set()
        self.pending = asyncio.Event()
        self.submissions = 0

    async def require(self, task_id: str, offer: Offer) -> PaymentRequirement:
        self.asked[task_id] = PaymentRequirement(
            payment_id=f"pay_{task_id}",
            task_id=task_id,
            quote_id="quo_1",
            price_usd_nanos=offer.price_usd_nanos,
            amount_atomic=USDC.atomic_from_nanos(offer.price_usd_nanos),
            asset=USDC,
            pay_to="0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
            resource=offer.resource,
            description=offer.description,
            input_hash=offer.input_hash,
            price_version=offer.price_version,
            **self._terms(),
        )
        return self.asked[task_id]

    def _terms(self) -> dict[str, Any]:
        known = PaymentRequirement.__dataclass_fields__
        terms = {"expires_at_us": self._clock.now_us() + int(self._life_s * SECOND_US), "max_timeout_s": 300}
        return {name: value for name, value in terms.items() if name in known}

    async def unbooked_usd_nanos(self, task_id: str) -> int:
        return self.asked[task_id].price_usd_nanos if task_id in self.settled else 0

    async def book(self, task_id: str) -> None:
        self.booked.append(task_id)

    async def requirement(self, task_id: str) -> PaymentRequirement | None:
        return self.asked.get(task_id)

    async def submit(self, task_id: str, payload: Any) -> Receipt:
        self.submissions += 1
        nonce = payload["payload"]["authorization"]["nonce"]
        if task_id in self.journal:
            if self.journal[task_id] != nonce:
                raise PaymentRefused("DUPLICATE_NONCE", "another payment for this task came first")
            return await self._receipt(task_id)
        if task_id in self.rejected or self.asked[task_id].expires_at_us <= self._clock.now_us():
            raise QuoteExpired
        verifying = asyncio.create_task(self._verify_and_plan(task_id, nonce))
        self.verifying.add(verifying)
        await asyncio.shield(verifying)
        if self.at_settling is not None:
            await self.at_settling(task_id)
        if nonce == "slow" and not self.pending.is_set():
            raise SettlementPending(f"pay_{task_id}")
        return await self._receipt(task_id)

    async def _verify_and_plan(self, task_id: str, nonce: str) -> None:
        if nonce == "bad":
            raise PaymentRefused("INVALID_SIGNATURE", "the signature is not the payer's")
        if self.at_verifying is not None:
            await self.at_verifying(task_id)
        if task_id in self.rejected:
            raise PaymentRefused("SETTLEMENT_FAILED", "the requirement is void")
        self.journal[task_id] = nonce

    async def _receipt(self, task_id: str) -> Receipt:
        return self.settled.setdefault(
            task_id,
            Receipt(
                id=f"rcpt_{task_id}",
                payment_id=f"pay_{task_id}",
                task_id=task_id,
                payer=PAYER,
                payee="0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
                amount_atomic=10_000,
                asset=USDC.address,
                network=USDC.network,
                tx_hash="0x" + "12" * 32,
                block_number=7,
                settled_at_us=self._clock.now_us(),
                jws="e30.e30.sig",
            ),
        )

    async def outcome(self, task_id: str) -> Receipt | PaymentRefused | None:
        if task_id not in self.journal:
            return None
        if self.journal[task_id] == "slow":
            await self.pending.wait()
        return await self._receipt(task_id)

    async def status(self, payment_id: str) -> dict[str, Any]:
        task_id = payment_id.removeprefix("pay_")
        if task_id not in self.asked:
            raise PaymentUnknown("there is no such payment")
        receipt = self.settled.get(task_id)
        receipts = [receipt.as_x402(2)] if receipt else []
        status = "settled" if receipt else "required"
        return {"payment_id": payment_id, "task_id": task_id, "status": status, "receipts": receipts}

    async def give_back(self, task_id: str) -> None:
        self.given_back.append(task_id)

    async def reject(self, task_id: str) -> None:
        if task_id not in self.journal:
            self.rejected.add(task_id)


def payload(nonce: str = "0x01") -> dict[str, Any]:
    return {
        "x402Version": 2,
        "payload": {"signature": SIGNATURE, "authorization": {"from": PAYER, "nonce": nonce}},
    }


def paid_message(nonce: str = "0x01") -> dict[str, Any]:
    return {"x402.payment.status": "payment-submitted", "x402.payment.payload": payload(nonce)}


@dataclass
class Stage:
    """Skills that a test holds in its hands: `tell` streams what is put into its queue, `slow` waits to be let go."""

    chunks: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    works: list[Work] = field(default_factory=list)

    async def tell(self, work: Work) -> AsyncGenerator[str, None]:
        self.works.append(work)
        self.begun.set()
        try:
            while (chunk := await self.chunks.get()) is not None:
                yield chunk
        except BaseException:
            self.stopped.set()
            raise

    async def slow(self, work: Work) -> str:
        self.works.append(work)
        self.begun.set()
        try:
            await self.go.wait()
        except BaseException:
            self.stopped.set()
            raise
        return f"done: {work.text}"

    async def upper(self, work: Work) -> AsyncGenerator[str, None]:
        self.works.append(work)
        for word in work.text.upper().split():
            yield word + " "

    async def broken(self, work: Work) -> str:
        raise RuntimeError(f"secret: {work.text}")

    async def guess(self, work: Work) -> AsyncGenerator[Answer, None]:
        """Asks until it is told `plum`; `no` is refused, a word with `!` is answered in parts."""
        self.works.append(work)
        yield f"{len(work.history)} before; "
        match work.text:
            case "plum":
                yield Done("That is it.")
            case "no":
                yield Rejected("Then not.")
            case "parts!":
                yield Piece([{"data": {"n": 2}}], "numbers")
                yield Piece([{"raw": "aGk=", "filename": "hi.txt", "mediaType": "text/plain"}], "file", last=False)
                yield Piece([{"url": "https://example.org/hi"}], "file", append=True)
            case _:
                yield NeedsInput("Which fruit?")

    async def hello(self, work: Work) -> str:
        return f"Hello {work.text}."

    def skills(self) -> Skills:
        cent = Rate(10_000_000)
        return Skills(
            [
                echo(),
                Skill("ask", "Ask", "Shouts the question back.", self.upper, price=cent),
                Skill("tell", "Tell", "Streams.", self.tell),
                Skill("guess", "Guess", "Asks back.", self.guess),
                Skill("paid-guess", "Guess", "Asks back, for money.", self.guess, price=cent),
                Skill("hello", "Hello", "Answers with a message.", self.hello, direct=True),
                Skill("slow", "Slow", "Waits.", self.slow),
                Skill("paid-slow", "Slow", "Waits, for money.", self.slow, price=cent),
                Skill("broken", "Broken", "Breaks.", self.broken),
                Skill("paid-broken", "Broken", "Breaks, for money.", self.broken, price=cent),
            ]
        )


def pushes(database: Database, clock: Clock | None = None, web: GuardedClient | None = None) -> PushConfigs:
    clock = clock or SystemClock()
    outbox = Outbox(database, clock, "push", Rates())
    web = web or GuardedClient(["127.0.0.1/32"])
    return PushConfigs(database, Vault(database, clock, FixedKey()), clock, outbox, web)


def a_runtime(
    database: Database,
    stage: Stage,
    gate: Gate | None = None,
    owner: str = "one",
    clock: Clock | None = None,
    **settings: Any,
) -> TaskRuntime:
    clock = clock or SystemClock()
    told = settings.pop("pushes", None) or pushes(database, clock)
    vault = Vault(database, clock, FixedKey())
    idempotency = Idempotency(database, clock, vault)
    return TaskRuntime(
        database,
        vault,
        clock,
        idempotency,
        owner,
        gate,
        stage.skills(),
        "http://node/api/a2a",
        told,
        **{"tick_s": 0.05, "poll_s": 0.05, **settings},
    )


CARD_KEY = ECKey.generate_key("P-256")
CARD_DID = didkey.encode(CARD_KEY.get_op_key("verify"))


def sign_card(payload: Mapping[str, Any], typ: str) -> str:
    return jws.sign(payload, typ=typ, key=CARD_KEY, kid=didkey.key_id(CARD_DID))


async def authenticate(request: Request) -> Caller:
    if (payer := request.headers.get("sign-in-with-x")) is not None:
        return replace(ANONYMOUS, payer=payer)
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    known = {"": ANONYMOUS, "alice": ALICE, "bob": BOB}
    if key not in known:
        raise KeyInvalid("the key is unknown")
    return known[key]


def an_app(runtime: TaskRuntime, origin: str) -> Starlette:
    schemes = security_schemes(origin, signs_in=True)
    card = agent_card("Test node", "A node under test.", "0.1.0", origin, Stage().skills(), schemes, extended=True)
    return Starlette(routes=routes(runtime, card, authenticate, 1_764_000_000_000_000, sign_card, about))


async def about(caller: Caller) -> Mapping[str, Any]:
    return {"tenant_id": caller.tenant_id, "payer": caller.payer or "", "limits": {"concurrent": 2, "per": 0.5}}


@contextlib.asynccontextmanager
async def served_app(make: Callable[[str], Any], listening: socket.socket | None = None) -> AsyncIterator[str]:
    """The application that is made for an origin, over real HTTP there."""
    listening = listening or socket.create_server(("127.0.0.1", 0))
    origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(make(origin), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        async with httpx.AsyncClient(verify=False) as probe:
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    await probe.get(f"{origin}/.well-known/agent.json")
                    break
        yield origin
    finally:
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def served(runtime: TaskRuntime, found_at: str | None = None) -> AsyncIterator[str]:
    """The node over real HTTP; its origin. `found_at` is what its card says, where that is another."""
    async with served_app(lambda origin: an_app(runtime, found_at or origin)) as origin:
        await runtime.start()
        try:
            yield origin
        finally:
            await runtime.close()


def message(text: str, message_id: str = "m1", **fields: Any) -> dict[str, Any]:
    """A 1.0 message."""
    return {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}], **fields}


@dataclass
class Rpc:
    """A bare JSON-RPC client of one version, so that the tests see exactly what is on the wire."""

    http: httpx.AsyncClient
    origin: str
    version: str | None = "1.0"
    headers: dict[str, str] = field(default_factory=dict)

    async def post(self, method: str, params: dict[str, Any], **headers: str) -> httpx.Response:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        sent = {**({"A2A-Version": self.version} if self.version else {}), **self.headers, **headers}
        return await self.http.post(f"{self.origin}/api/a2a", json=body, headers=sent, timeout=30)

    async def call(self, method: str, params: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = (await self.post(method, params, **headers)).json()
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def error(self, method: str, params: dict[str, Any], **headers: str) -> dict[str, Any]:
        answer = (await self.post(method, params, **headers)).json()
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error

    async def send(self, text: str, skill: str = "echo", message_id: str = "m1", **rest: Any) -> dict[str, Any]:
        """SendMessage; the task."""
        metadata = {"skill": skill, **rest.pop("metadata", {})}
        params = {"message": message(text, message_id, metadata=metadata, **rest.pop("fields", {})), **rest}
        task: dict[str, Any] = (await self.call("SendMessage", params))["task"]
        return task


async def ended(runtime: TaskRuntime, task_id: str, caller: Caller = ANONYMOUS) -> dict[str, Any]:
    """The task once it has ended, which it may have before anybody can listen."""
    with contextlib.suppress(TaskEnded):
        async for _ in runtime.subscribe(task_id, caller):
            pass
    view: dict[str, Any] = (await runtime.snapshot(task_id, caller)).view
    return view


def incoming_text(text: str, skill: str, message_id: str, **fields: Any) -> Incoming:
    """A message as the runtime takes it, for tests that need no wire."""
    pays = {"x402.payment.status": fields["submission"].status} if "submission" in fields else {}
    said = message(text, message_id, metadata={"skill": skill, **pays})
    return Incoming(said, text, ({"skill": skill},), {"message": said}, "1.0", 2, **fields)


def paying(task_id: str, paid: dict[str, Any] | None = None, status: str = "payment-submitted") -> Incoming:
    """The payer's message."""
    said = message("payment", "pay", taskId=task_id, metadata={"x402.payment.status": status})
    submission = Submission(status, payload() if paid is None else paid)  # type: ignore[arg-type]
    return Incoming(said, "payment", ({},), {"message": said}, "1.0", 2, task_id=task_id, submission=submission)
