"""What every room of the node stands on: its database and keys, who moves money, who may, and what must happen once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agentnode.migrations import LOCATIONS
from agentnode.settings import Settings
from agentnode.ticking import Tick
from ledger.accounts import OPERATOR, Account, AccountBook, Accounts, Caller, Credits, Leftovers, Policies, Sessions
from ledger.clock import Clock, SystemClock
from ledger.database import Database
from ledger.events import Events
from ledger.ids import new_id
from ledger.money import usd_nanos
from ledger.spend import Spend, Sweeper
from ledger.vault import Vault
from ledger.work import Claims, Idempotency
from trust.keys import NodeKeys
from trust.keystore import Keystore, open_password
from trust.web import GuardedClient

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class Wallets(Protocol):
    """The keystore. Opening an account takes a second."""

    def create(self, name: str) -> str: ...

    def put(self, name: str, private_key: str) -> str: ...

    def address(self, name: str) -> str | None: ...

    def account(self, name: str) -> LocalAccount: ...


@dataclass(frozen=True)
class Ground:
    """`owner` names this process on claims and leases; `on_point` hears each point of the journals."""

    settings: Settings
    database: Database
    clock: Clock
    owner: str
    keys: NodeKeys
    wallets: Wallets
    on_point: Callable[[str], None]
    spend: Spend
    events: Events
    claims: Claims
    vault: Vault
    idempotency: Idempotency
    accounts: Accounts
    book: AccountBook
    policies: Policies
    sessions: Sessions
    credits: Credits
    web: GuardedClient

    @property
    def ticks(self) -> tuple[Tick, ...]:
        return (
            (5, Sweeper(self.database, self.spend, self.clock).sweep),
            (600, self.vault.delete_ended),
            (600, Leftovers(self.database, self.clock).give_back),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.spend.start()
        try:
            yield
        finally:
            await self.spend.close()
            await self.web.aclose()
            await self.database.close()

    async def own_account(self) -> Account:
        """The node's own, from which it works for those who have none."""
        return await self.book.open(Caller(OPERATOR, None, frozenset()))


async def open_ground(settings: Settings, on_point: Callable[[str], None] = lambda name: None) -> Ground:
    """The folder's, brought up to date."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database)
    await database.upgrade(LOCATIONS)
    password, _ = open_password(settings.data, settings.over(os.environ))
    keys, wallets = NodeKeys.open(settings.data / "keys", password), Keystore(settings.data / "wallets", password)
    return ground_on(settings, database, SystemClock(), new_id("proc"), keys, wallets, on_point)


def ground_on(
    settings: Settings,
    database: Database,
    clock: Clock,
    owner: str,
    keys: NodeKeys,
    wallets: Wallets,
    on_point: Callable[[str], None] = lambda name: None,
) -> Ground:
    limits, test_money = settings.default_limits, settings.has_test_money
    book = AccountBook(database, clock, limits, usd_nanos(settings.promotion_usd_per_day))
    vault = Vault(database, clock, keys)
    return Ground(
        *(settings, database, clock, owner, keys, wallets, on_point),
        spend=Spend(database, clock, owner),
        events=Events(database),
        claims=Claims(database, clock, owner),
        vault=vault,
        idempotency=Idempotency(database, clock, vault),
        accounts=Accounts(database, clock, keys),
        book=book,
        policies=Policies(database, clock, book, limits),
        sessions=Sessions(database, clock, book, test_money),
        credits=Credits(database, clock, book, test_money),
        web=GuardedClient(settings.reachable_nets),
    )
