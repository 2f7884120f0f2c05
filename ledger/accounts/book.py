"""Opens the account of a call: reads policy and session, sees to the budgets of the period, remembers for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakValueDictionary

from ledger.accounts.account import Account, Plan, Standing, payer_plan_of, plan_of, trial_plan_of
from ledger.accounts.policy import Attribution, Limits, OwnerBudget, owners_of
from ledger.accounts.scopes import ANONYMOUS, Caller
from ledger.accounts.standing import lock_tenant, read_standing
from ledger.clock import SECOND_US, Clock
from ledger.database import AsyncSession, Database
from ledger.errors import SessionExpired
from ledger.spend import fit, read_budgets

_KEEP_US = SECOND_US
_MANY = 10_000

DefaultsOf: TypeAlias = Callable[[str], Limits]
"""The limits of a tenant, by its id, of whom nobody said anything."""
_Key: TypeAlias = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A standing, and the accounts that were opened on it by the owners that the request names."""

    standing: Standing
    read_at_us: int
    accounts: dict[Hashable, Account] = field(default_factory=dict)

    def serves(self, now_us: int) -> bool:
        return 0 <= now_us - self.read_at_us < _KEEP_US


class AccountBook:
    """`promotion_usd_nanos_per_day` is what the node gives away in a day, to those who use a trial."""

    def __init__(
        self, database: Database, clock: Clock, defaults_of: DefaultsOf, promotion_usd_nanos_per_day: int = 0
    ) -> None:
        self._database = database
        self._clock = clock
        self._defaults_of = defaults_of
        self._promotion_usd_nanos_per_day = promotion_usd_nanos_per_day
        self._opened: dict[_Key, _Opened] = {}
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def open(
        self,
        caller: Caller,
        session_id: str | None = None,
        attribution: Attribution | None = None,
        trial: bool = False,
    ) -> Account:
        """The account of a call, with its budgets there and at the limits of the policy, as of a second ago at most.

        Raises NotFound (a session of another tenant looks missing), SessionEnded, SessionExpired,
        DatabaseUnavailable.
        """
        key, said = (caller.tenant_id, caller.key_id, session_id), attribution or {}
        opened = self._opened.get(key)
        now_us = self._clock.now_us()
        if opened is None or not opened.serves(now_us):
            opened = await self._open_standing(key, said, trial)
        standing = opened.standing
        if standing.expires_at_us is not None and standing.expires_at_us <= now_us:
            raise SessionExpired(f"{session_id} has expired; make another session")
        account = opened.accounts.get((_owners(standing, said), trial))
        return account or await self._open_account(opened, said, trial)

    async def open_payer(self, address: str, purse_id: str) -> Account:
        """The account of a call that its caller has paid for: an address without a key, and the purse it filled."""
        now_us, key = self._clock.now_us(), (ANONYMOUS.tenant_id, None, None)
        async with self._database.write() as session:
            standing = await read_standing(session, key, self._defaults_of(ANONYMOUS.tenant_id), now_us)
            plan = payer_plan_of(standing, address, purse_id)
            await fit(session, plan.limited, now_us)
            return plan.account(standing, await read_budgets(session, plan.named))

    async def days(self, tenant_id: str, key_id: str | None = None) -> list[str]:
        """The ids of the budgets of this UTC day, there and at their limits: the tenant's, and its key's where that has
        such a limit of its own."""
        account = await self.open(Caller(tenant_id, key_id, frozenset()))
        return [take.budget_id for take in account.takes if take.budget_id.startswith("day:")]

    def forget(self, tenant_id: str) -> None:
        """The tenant's next call reads what has changed. Other processes find it within a second."""
        for key in [key for key in self._opened if key[0] == tenant_id]:
            del self._opened[key]

    async def _open_standing(self, key: _Key, said: Attribution, trial: bool) -> _Opened:
        async with self._turn(key):
            opened, now_us = self._opened.get(key), self._clock.now_us()
            if opened is None or not opened.serves(now_us):
                async with self._database.read() as session:
                    standing = await read_standing(session, key, self._defaults_of(key[0]), now_us)
                    account = await self._look(session, standing, said, trial)
                if len(self._opened) >= _MANY:
                    self._opened = {each: kept for each, kept in self._opened.items() if kept.serves(now_us)}
                opened = self._opened[key] = _Opened(standing, now_us)
                if account is not None:
                    opened.accounts[_owners(standing, said), trial] = account
        return opened

    async def _open_account(self, opened: _Opened, said: Attribution, trial: bool) -> Account:
        wanted = (_owners(opened.standing, said), trial)
        async with self._turn((*_key(opened.standing), *wanted)):
            account = opened.accounts.get(wanted)
            if account is None:
                async with self._database.read() as session:
                    account = await self._look(session, opened.standing, said, trial)
                account = account or await self._see_to(opened.standing, said, trial)
                opened.accounts[wanted] = account
        return account

    async def _look(self, session: AsyncSession, standing: Standing, said: Attribution, trial: bool) -> Account | None:
        """The account, where its budgets are as they should be."""
        plan = self._plan(standing, said, trial)
        there = await read_budgets(session, plan.named)
        return plan.account(standing, there) if plan.is_ready(there) else None

    async def _see_to(self, standing: Standing, said: Attribution, trial: bool) -> Account:
        """The account, after its budgets were made what they should be by the policy of now."""
        now_us = self._clock.now_us()
        async with self._database.write() as session:
            await lock_tenant(session, standing.tenant_id)
            defaults = self._defaults_of(standing.tenant_id)
            standing = await read_standing(session, _key(standing), defaults, now_us)
            plan = self._plan(standing, said, trial)
            await fit(session, plan.limited, now_us, plan.purses)
            return plan.account(standing, await read_budgets(session, plan.named))

    def _plan(self, standing: Standing, said: Attribution, trial: bool) -> Plan:
        if trial:
            return trial_plan_of(standing, self._promotion_usd_nanos_per_day)
        return plan_of(standing, _owners(standing, said))

    def _turn(self, key: Hashable) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())


def _key(standing: Standing) -> _Key:
    return standing.tenant_id, standing.key_id, standing.session_id


def _owners(standing: Standing, said: Attribution) -> tuple[OwnerBudget, ...]:
    return owners_of(standing.policy.budgets, said, standing.agents)
