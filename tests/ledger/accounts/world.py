"""The small world of the accounts' tests: accounts, a book and a spend path over one database and a set clock."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ledger.accounts import DEFAULT_LIMITS, Account, AccountBook, Accounts, Caller
from ledger.accounts.documents import document_of, said_in
from ledger.accounts.tables import PolicyRow
from ledger.database import Database
from ledger.spend import Spend
from tests.ledger.parts import MemoryKey, SetClock

ACME = Caller("acme", None, frozenset())


@dataclass
class World:
    database: Database
    clock: SetClock
    accounts: Accounts
    book: AccountBook
    spend: Spend

    def another_book(self) -> AccountBook:
        """Another process's."""
        return AccountBook(self.database, self.clock, lambda _: DEFAULT_LIMITS)

    async def says(self, scope: str, ref: str, document: dict[str, Any]) -> None:
        """A policy as it would be kept, past every check of who may say it."""
        async with self.database.write() as session:
            await session.merge(
                PolicyRow(scope=scope, ref=ref, document=document_of(said_in(document)), set_at_us=self.clock.now_us())
            )

    async def limits(self, account: Account) -> dict[str, int]:
        """Of each budget that the account takes from, its limit."""
        rows = {take.budget_id: await self.spend.budget(take.budget_id) for take in account.takes}
        return {budget_id: row.limit_usd_nanos for budget_id, row in rows.items() if row is not None}


@contextlib.asynccontextmanager
async def opened(database: Database, billing: Any = "open") -> AsyncIterator[World]:
    clock = SetClock()
    spend = Spend(database, clock, "test")
    await spend.start()
    accounts = Accounts(database, clock, MemoryKey())
    await accounts.ensure_tenant("acme", "Acme", billing)
    book = AccountBook(database, clock, lambda _: DEFAULT_LIMITS, promotion_usd_nanos_per_day=7)
    yield World(database, clock, accounts, book, spend)
    await spend.close()
