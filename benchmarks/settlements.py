"""Settlements a second: this node's facilitator beside the x402 package's, on one chain, at 1, 32, 1,000 at once.

The chains are the embedded one (py-evm: no mempool) and Anvil, from its npm package. `rpc` is JSON-RPC calls a
settlement, `http` the exchanges they came in: ours go by the batch. `verify` is with simulation, `verify_recent` of a
payer whose balance was seen within the minute. Every settlement is judged by the payee's balance. Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import HTTPProvider
from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer
from x402.schemas import PaymentPayload, PaymentRequirements

from agentnode.devchain.genesis import ACCOUNTS, USDC, genesis_accounts
from agentnode.migrations import LOCATIONS
from agentnode.payments.compliance import Every
from agentnode.payments.facilitators.local import LocalFacilitator
from agentnode.payments.facilitators.recent import RecentPayers
from agentnode.payments.facilitators.routes import Route, Routes
from agentnode.payments.schemes.exact import ExactScheme
from agentnode.payments.schemes.overtaken import Overtaken
from agentnode.payments.schemes.signer import PlanningSigner
from agentnode.payments.settling.broadcaster import Broadcaster
from agentnode.payments.settling.journal import Journal
from agentnode.payments.settling.proof import Proof
from agentnode.payments.settling.queue import SignerQueue
from agentnode.payments.settling.sending import Sending
from benchmarks.gateway.measured import NotMeasured
from benchmarks.gateway.processes import free_port
from benchmarks.gateway.rivals import copied, node_and_npm
from ledger.clock import SystemClock
from ledger.database import Database
from ledger.money import NANOS_PER_USD, Asset
from ledger.work import Claims
from trust.chain import ChainView
from trust.json_rpc import JsonRpc
from trust.networks import EMBEDDED

ASSET = Asset(EMBEDDED, USDC, "USD Coin", "2", 6, NANOS_PER_USD)
_ROUNDS = 3
_ONE_BY_ONE, _AT_ONCE, _MANY = 20, 32, 1_000
_VERIFIED = 100
_AMOUNT = 1_000
Body = dict[str, Any]
Settle = Callable[[Body], Awaitable[bool]]


@dataclass
class Calls:
    """What was asked of the chain since it was emptied."""

    rpc: int = 0
    http: int = 0

    def listen(self) -> None:
        """To every way in which either facilitator asks."""
        for owner, name, count in (
            (HTTPProvider, "make_request", lambda _: 1),
            (JsonRpc, "ask_all", len),
            (Broadcaster, "_exchange", lambda what: len(what[0])),
        ):
            setattr(owner, name, self._counted(getattr(owner, name), count))

    def _counted(self, ask: Any, count: Callable[[Any], int]) -> Any:
        def asked(owner: Any, *what: Any) -> Any:
            self.rpc, self.http = self.rpc + count(what), self.http + 1
            return ask(owner, *what)

        return asked


@dataclass
class Run:
    """One facilitator on one chain."""

    chain: str
    payer: LocalAccount
    payee: str
    calls: Calls
    figures: dict[str, Any] = field(default_factory=dict)

    def body(self) -> Body:
        """A new authorisation, as a seller hands it to a facilitator."""
        authorization = {
            "from": self.payer.address,
            "to": self.payee,
            "value": str(_AMOUNT),
            "validAfter": "0",
            "validBefore": str(int(time.time()) + 3_000),
            "nonce": "0x" + secrets.token_hex(32),
        }
        signature = self.payer.sign_typed_data(*_typed(authorization)).signature.to_0x_hex()
        accepted = {
            "scheme": "exact",
            "network": EMBEDDED,
            "asset": USDC,
            "amount": str(_AMOUNT),
            "payTo": self.payee,
            "maxTimeoutSeconds": 3_000,
            "extra": {"name": "USD Coin", "version": "2"},
        }
        inner = {"signature": signature, "authorization": authorization}
        payload = {"x402Version": 2, "accepted": accepted, "payload": inner}
        return {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": accepted}

    def paid(self) -> int:
        """How many settlements the payee has, by the chain."""
        data = "0x70a08231" + self.payee[2:].rjust(64, "0")
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": USDC, "data": data}, "latest"]}
        return int(httpx.post(self.chain, json=call, timeout=30).json()["result"], 16) // _AMOUNT

    async def measure(self, name: str, count: int, at_once: int, settle: Settle, rounds: int = _ROUNDS) -> None:
        rates, settled, said, rpc, http = [], [], [], [], []
        for _ in range(rounds):
            bodies = [self.body() for _ in range(count)]
            before, self.calls.rpc, self.calls.http = self.paid(), 0, 0
            began = time.perf_counter()
            answers: list[bool] = []
            for start in range(0, count, at_once):
                answers += await asyncio.gather(*(settle(body) for body in bodies[start : start + at_once]))
            took_s = time.perf_counter() - began
            done = self.paid() - before
            settled.append(done)
            said.append(sum(answers))
            rates.append(done / took_s)
            rpc.append(self.calls.rpc / count)
            http.append(self.calls.http / count)
        self.figures[name] = {
            "asked": count,
            "settled": statistics.median(settled),
            "said_so": statistics.median(said),
            "per_s": round(statistics.median(rates), 1),
            "rpc": round(statistics.median(rpc), 1),
            "http": round(statistics.median(http), 1),
        }

    async def verify(self, name: str, verify: Settle) -> None:
        took_ms = []
        for body in [self.body() for _ in range(_VERIFIED)]:
            began = time.perf_counter()
            assert await verify(body)
            took_ms.append((time.perf_counter() - began) * 1_000)
        cuts = statistics.quantiles(took_ms, n=100)
        self.figures[name] = {"p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}


async def official(run: Run, sender: LocalAccount) -> None:
    """The package's scheme over its own signer, in threads, as its synchronous interface wants it."""
    signer = FacilitatorWeb3Signer(sender.key.hex(), run.chain, confirmation_timeout_seconds=5)
    scheme, loop = ExactEvmScheme(signer), asyncio.get_running_loop()
    with ThreadPoolExecutor(_AT_ONCE) as threads:

        async def settle(body: Body) -> bool:
            answer = await loop.run_in_executor(threads, lambda: scheme.settle(*_models(body)))
            return bool(answer.success)

        async def verify(body: Body) -> bool:
            answer = await loop.run_in_executor(threads, lambda: scheme.verify(*_models(body)))
            return bool(answer.is_valid)

        await run.verify("verify", verify)
        await run.measure("at_1", _ONE_BY_ONE, 1, settle)
        await run.measure("at_32", _AT_ONCE, _AT_ONCE, settle)


async def ours(run: Run, sender: LocalAccount, folder: Path) -> None:
    for name, recent_s in (("verify_recent", 60), ("verify", 0)):
        async with _facilitator(run.chain, sender, folder, recent_s) as facilitator:

            async def verify(body: Body, facilitator: LocalFacilitator = facilitator) -> bool:
                return bool((await facilitator.verify_request(body))["isValid"])

            await run.verify(name, verify)
    async with _facilitator(run.chain, sender, folder, 0) as facilitator:

        async def settle(body: Body) -> bool:
            return bool((await facilitator.settle_request(body))["success"])

        await run.measure("at_1", _ONE_BY_ONE, 1, settle)
        await run.measure("at_32", _AT_ONCE, _AT_ONCE, settle)
        await run.measure("at_1000", _MANY, _MANY, settle, rounds=1)


@contextlib.asynccontextmanager
async def _facilitator(
    rpc_url: str, sender: LocalAccount, folder: Path, recent_s: float
) -> AsyncIterator[LocalFacilitator]:
    clock, database = SystemClock(), Database(f"sqlite:///{folder / 'node.db'}")
    await database.upgrade(LOCATIONS)
    claims = Claims(database, clock, "bench")
    journal, chain, broadcaster = Journal(database, clock, claims), ChainView(rpc_url, 31337), Broadcaster(rpc_url)
    scheme = ExactScheme(PlanningSigner(sender.key.hex(), rpc_url), chain, journal)
    routes, nobody = Routes([Route((EMBEDDED,))], clock), "0x" + "00" * 20
    sending = Sending(journal, broadcaster, chain, Proof(chain, clock, wall_clock=True), sender, clock)
    queue = asyncio.create_task(SignerQueue(journal, sending, claims, clock).run())
    try:
        yield LocalFacilitator(
            *(scheme, journal, ASSET, sender.address, nobody, 120, clock, routes, Every([])),
            Overtaken(journal, chain, ASSET, clock, 600, sender.address),
            RecentPayers(journal, chain, ASSET, clock, recent_s, 10**6),
        )
    finally:
        queue.cancel()
        await asyncio.gather(queue, return_exceptions=True)
        scheme.close()
        await broadcaster.close()
        await chain.aclose()
        await database.close()


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "agentnode.devchain", "--parent-pipe", "--port", "0", "--data", str(folder)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip().removeprefix("ready ")
    finally:
        child.terminate()
        child.wait(timeout=20)


@contextlib.contextmanager
def anvil(_: Path) -> Iterator[str]:
    """With our token's code and balances where the embedded chain has them. Raises NotMeasured where it is absent."""
    node, npm = node_and_npm()
    folder = copied("anvil", "package.json", "package-lock.json")
    install = [node, *npm, "ci", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise NotMeasured(f"npm could not install Anvil: {done.stderr[-200:]}")
    binary, port = folder / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil", free_port()
    child = subprocess.Popen([binary, "--port", str(port), "--silent"], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        token = genesis_accounts()[USDC]
        _until_answers(url)
        _rpc(url, "anvil_setCode", USDC, "0x" + token.code.hex())
        for slot, value in token.storage.items():
            _rpc(url, "anvil_setStorageAt", USDC, hex(slot), f"0x{value:064x}")
        yield url
    finally:
        child.terminate()
        child.wait(timeout=20)


def _until_answers(url: str) -> None:
    for _ in range(100):
        with contextlib.suppress(httpx.HTTPError):
            _rpc(url, "eth_chainId")
            return
        time.sleep(0.1)
    raise NotMeasured("Anvil did not start")


def _rpc(url: str, method: str, *params: Any) -> None:
    httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, timeout=10)


def _models(body: Body) -> tuple[Any, Any]:
    return (
        PaymentPayload.model_validate(body["paymentPayload"]),
        PaymentRequirements.model_validate(body["paymentRequirements"]),
    )


def _typed(authorization: dict[str, str]) -> Sequence[Any]:
    domain = {"name": "USD Coin", "version": "2", "chainId": 31337, "verifyingContract": USDC}
    names = (("from", "address"), ("to", "address"), ("value", "uint256"), ("validAfter", "uint256"))
    fields = [{"name": n, "type": t} for n, t in (*names, ("validBefore", "uint256"), ("nonce", "bytes32"))]
    message = {n: int(v) if n in ("value", "validAfter", "validBefore") else v for n, v in authorization.items()}
    return domain, {"TransferWithAuthorization": fields}, message


async def _both(chain: str, calls: Calls) -> dict[str, Any]:
    payer, first, second = (Account.from_key(key) for _, key in ACCOUNTS[1:4])
    rival, own = (Run(chain, payer, Account.create().address, calls) for _ in range(2))
    await official(rival, first)
    with tempfile.TemporaryDirectory() as folder:
        await ours(own, second, Path(folder))
    return {"agentnode": own.figures, "x402_package": rival.figures}


def main() -> None:
    logging.disable(logging.CRITICAL)
    calls, figures = Calls(), {}
    calls.listen()
    for name, start in (("py_evm", embedded), ("anvil", anvil)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                with start(Path(folder)) as chain:
                    figures[name] = asyncio.run(_both(chain, calls))
            except NotMeasured as why:
                figures[name] = {"not_measured": str(why)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
