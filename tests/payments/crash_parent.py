"""`python -m tests.payments.crash_parent FOLDER CHAIN_URL`: a warm parent whose children sell, and die of kill -9.

Each line on stdin is a JSON command; a child is forked that opens the seller's gate on the folder, does what it says,
and prints nothing. The answer is a line: the child's exit code, -9 where it was killed.

    {"upgrade": true} or
    {"rpc": url, "facilitators": [url], "take_over": bool, "require": [task_id], "submit": [[task_id, payload]],
     "give_back": [task_id], "book": [task_id], "refund": [[payment_id, signature]],
     "due": how many rounds over what is watched, "die_at": point, "die_after_s": seconds after it has opened}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlmodel import text

from agentnode.migrations import LOCATIONS
from agentnode.payments import Offer, PaymentRefused, SettlementPending
from ledger.database import Database
from tests.payments.payments_world import OpenWallets, opened
from trust.keys import NodeKeys

_PRICE_USD_NANOS = 10_000_000


async def act(folder: Path, chain_url: str, keys: NodeKeys, wallets: OpenWallets, command: dict[str, Any]) -> None:
    def on_point(name: str) -> None:
        if name == command.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    database = Database(f"sqlite:///{folder / 'node.db'}")
    facilitators = [{"url": url} for url in command.get("facilitators", [])]
    settings = {
        "facilitators": facilitators,
        "facilitator_timeout_s": 2,
        "settle_timeout_s": 20,
        "quote_life_s": 36_000,
    }
    if command.get("upgrade"):
        await database.upgrade(LOCATIONS)
        await database.close()
        return
    if command.get("take_over"):  # who is dead holds its leases for ten seconds
        async with database.write() as session:
            await session.exec(text("UPDATE claims SET lease_until_us = 0"))  # type: ignore[call-overload]
    chain: Any = SimpleNamespace(url=chain_url)
    rpc_url = command.get("rpc", chain_url)
    async with opened(chain, database, folder, rpc_url, on_point, wallets, keys=keys, **settings) as world:
        payments = world.payments
        await payments.reconciler.start()
        if command.get("require"):
            made = []
            for task_id in command["require"]:
                asked = await payments.task_gate.require(
                    task_id, Offer(_PRICE_USD_NANOS, "http://node", "Ask", "00" * 32)
                )
                made.append({scheme: asked.accepts_v2(scheme) for scheme in ("exact", "receipt", "onchain")})
            (folder / "asked.json").write_text(json.dumps(made))
        if after_s := command.get("die_after_s"):
            threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if command.get("due"):
            for _ in range(command["due"]):
                async with database.write() as session:
                    due = text("UPDATE settlement SET look_at_us = 0 WHERE look_at_us IS NOT NULL")
                    await session.exec(due)  # type: ignore[call-overload]
                await payments.reconciler.tick()
        tasks = [pay(payments.task_gate, task_id, payload) for task_id, payload in command.get("submit", [])]
        await asyncio.gather(*tasks)
        for task_id in command.get("give_back", []):
            await payments.task_gate.give_back(task_id)
        for task_id in command.get("book", []):
            await payments.task_gate.book(task_id)
        wishes = [payments.refunds.ask(payment_id, signature) for payment_id, signature in command.get("refund", [])]
        assert all(refund.paid for refund in await asyncio.gather(*wishes))
    await database.close()


async def pay(gate: Any, task_id: str, payload: dict[str, Any]) -> None:
    """As a client does whose answers get lost: the same payload until there is an end."""
    for _ in range(10):
        with contextlib.suppress(SettlementPending):
            try:
                await gate.submit(task_id, payload)
            except PaymentRefused as refusal:
                if refusal.x402_code != "SETTLEMENT_FAILED":
                    raise
                await asyncio.sleep(0.2)
                continue
            return


def main() -> None:
    logging.disable(logging.CRITICAL)
    folder, chain_url = Path(sys.argv[1]), sys.argv[2]
    wallets = OpenWallets()
    for name in ("node", "facilitator"):
        wallets.create(name)
    keys = NodeKeys.open(folder / "keys", "test")
    import agentnode.payments.schemes.signer  # noqa: F401  what takes a second is loaded once

    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(act(folder, chain_url, keys, wallets, command))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
