"""What one call may spend from, in the order in which the guard looks. Pure: from a standing and its owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ledger.accounts import periods as names
from ledger.accounts.periods import Periods
from ledger.accounts.policy import OwnerBudget, Policy
from ledger.spend import Budget, NewBudget, Take, count, share, slot, whole


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says of a caller: its policy, its session, and the periods that count now."""

    tenant_id: str
    key_id: str | None
    session_id: str | None
    policy: Policy
    periods: Periods
    tenant_limits: Mapping[str, int]
    """all of them, by the names of the fields of Limits"""
    key_limits: Mapping[str, int]
    """those that the key's own policy names: each is counted beside its tenant's"""
    agents: tuple[str, ...] = ()
    expires_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What the guard checks for one call.

    `takes`: counts of the hour, days, slots, owners' budgets, the session's cap. A refusal names the budget, whose
    id begins with its layer (`rate:`, `day:`, `slots:`, `owner:`, `session:`).
    """

    tenant_id: str
    key_id: str | None
    session_id: str | None
    policy: Policy
    takes: tuple[Take, ...]
    real_payers: tuple[Take, ...]
    test_payers: tuple[Take, ...]
    has_only_test_money: bool = False
    """when the account was opened"""

    def payers(self, test: bool) -> tuple[Take, ...]:
        """Who pays, in this order. `test`: the upstream takes test money, which then goes first.

        Empty where a prepaid tenant has nothing that can pay: refuse with INSUFFICIENT_BUDGET.
        """
        return self.test_payers + self.real_payers if test else self.real_payers


@dataclass(frozen=True, slots=True)
class Plan:
    """An account before its budgets are there."""

    takes: tuple[Take, ...]
    limited: tuple[NewBudget, ...]
    """to be there with these limits"""
    purses: tuple[NewBudget, ...]
    """to be there, with whatever is in them"""
    real_payers: tuple[str, ...]
    test_payers: tuple[str, ...] = ()

    @property
    def named(self) -> set[str]:
        """Every budget that counts for the account."""
        return {*(budget.id for budget in (*self.limited, *self.purses)), *self.real_payers, *self.test_payers}

    def is_ready(self, there: Mapping[str, Budget]) -> bool:
        """Whether the budgets that are there are all it needs, at the limits that it asks for."""
        limits_stand = all(each.id in there and there[each.id].fits(each.limit_usd_nanos) for each in self.limited)
        return limits_stand and all(purse.id in there for purse in self.purses)

    def account(self, standing: Standing, there: Mapping[str, Budget]) -> Account:
        """`there`: those of the budgets that exist."""

        def any_left(payers: Sequence[str]) -> bool:
            return any(payer in there and there[payer].room_usd_nanos > 0 for payer in payers)

        return Account(
            standing.tenant_id,
            standing.key_id,
            standing.session_id,
            standing.policy,
            self.takes,
            tuple(share(payer) for payer in self.real_payers if payer in there),
            tuple(share(payer) for payer in self.test_payers if payer in there),
            any_left(self.test_payers) and not any_left(self.real_payers),
        )


def plan_of(standing: Standing, owners: Sequence[OwnerBudget]) -> Plan:
    """Credits pay first, then the session's funds, then the operator where billing is open."""
    tenant_id, session_id = standing.tenant_id, standing.session_id
    rates, days, slots = _rates(standing), _days(standing), _slots(standing)
    owned = [names.owner_budget(tenant_id, owner, standing.periods) for owner in owners]
    takes = [count(rate.id) for rate in rates]
    takes += [whole(day.id) for day in days]
    takes += [slot(each.id) for each in slots]
    takes += [whole(each.id) for each in owned]
    takes += [] if session_id is None else [whole(names.cap_id(session_id))]
    limited = [*rates, *days, *slots, *owned]
    real, test = _purses(tenant_id, session_id, False), _purses(tenant_id, session_id, True)
    payers = [purse.id for purse in real]
    if standing.policy.billing == "open":
        operator = names.open_budget(tenant_id)
        limited.append(operator)
        payers.append(operator.id)
    # A prepaid tenant's are made empty, so that what another process puts into them pays at once.
    made = (*real, *test) if standing.policy.billing == "prepaid" else ()
    return Plan(tuple(takes), tuple(limited), made, tuple(payers), tuple(purse.id for purse in test))


def trial_plan_of(standing: Standing, promotion_usd_nanos_per_day: int) -> Plan:
    """A trial use skips the payer's own budgets: rate and concurrency hold, and the node's promotion pays."""
    rates, slots = _rates(standing), _slots(standing)
    promotion = names.promotion_budget(standing.periods.day, promotion_usd_nanos_per_day)
    takes = [count(rate.id) for rate in rates] + [slot(each.id) for each in slots]
    return Plan(tuple(takes), (*rates, *slots, promotion), (), (promotion.id,))


def payer_plan_of(standing: Standing, address: str, purse_id: str) -> Plan:
    """Who pays as it goes: rate and concurrency hold for its own address, and its purse pays."""
    tenant_id, limits, owner = standing.tenant_id, standing.tenant_limits, f"payer:{address}"
    rate = names.rate_budget(tenant_id, owner, standing.periods.hour, limits["requests_per_hour"])
    slots = names.slots_budget(tenant_id, owner, limits["concurrent"])
    return Plan((count(rate.id), slot(slots.id)), (rate, slots), (), (purse_id,))


def _rates(standing: Standing) -> list[NewBudget]:
    hour, limits = standing.periods.hour, _counted(standing, "requests_per_hour")
    return [names.rate_budget(standing.tenant_id, owner, hour, limit) for owner, limit in limits]


def _days(standing: Standing) -> list[NewBudget]:
    day, limits = standing.periods.day, _counted(standing, "usd_nanos_per_day")
    return [names.day_budget(standing.tenant_id, owner, day, limit) for owner, limit in limits]


def _slots(standing: Standing) -> list[NewBudget]:
    limits = _counted(standing, "concurrent")
    return [names.slots_budget(standing.tenant_id, owner, limit) for owner, limit in limits]


def _counted(standing: Standing, limit: str) -> list[tuple[str, int]]:
    """Who is counted, and up to what: the tenant, and its key where that has such a limit of its own."""
    counted = [(standing.tenant_id, standing.tenant_limits[limit])]
    if standing.key_id is not None and limit in standing.key_limits:
        counted.append((standing.key_id, standing.key_limits[limit]))
    return counted


def _purses(tenant_id: str, session_id: str | None, test: bool) -> list[NewBudget]:
    purses = [names.credits_budget(tenant_id, test)]
    if session_id is not None:
        purses.append(names.funds_budget(tenant_id, session_id, test))
    return purses
