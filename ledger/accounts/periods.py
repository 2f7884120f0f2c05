"""The names of periods and of the budgets that stand for them. Hours, days and months are UTC's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from ledger.accounts.policy import OwnerBudget
from ledger.accounts.scopes import ANONYMOUS, OPERATOR
from ledger.clock import SECOND_US
from ledger.money import MAX_USD_NANOS
from ledger.spend import NewBudget


@dataclass(frozen=True, slots=True)
class Periods:
    hour: str
    """`2026-01-31T12`"""
    day: str
    """`2026-01-31`"""

    @property
    def month(self) -> str:
        return self.day[:7]


def periods_at(now_us: int) -> Periods:
    now = datetime.fromtimestamp(now_us // SECOND_US, UTC)
    return Periods(now.strftime("%Y-%m-%dT%H"), now.date().isoformat())


def rate_budget(tenant_id: str, owner: str, hour: str, requests: int) -> NewBudget:
    """`owner` is the tenant's id, or the id of a key that has a policy of its own."""
    return NewBudget(f"rate:{owner}:{hour}", tenant_id, "rate", requests, hour)


def day_budget(tenant_id: str, owner: str, day: str, limit_usd_nanos: int) -> NewBudget:
    return NewBudget(f"day:{owner}:{day}", tenant_id, "day", limit_usd_nanos, day)


def slots_budget(tenant_id: str, owner: str, slots: int) -> NewBudget:
    return NewBudget(f"slots:{owner}", tenant_id, "slots", slots)


def owner_budget(tenant_id: str, budget: OwnerBudget, periods: Periods) -> NewBudget:
    period = {"day": periods.day, "month": periods.month, "total": "total"}[budget.period]
    # A name with a colon must not become the name of another tenant's budget.
    budget_id = f"owner:{tenant_id}:{budget.owner_type}:{quote(budget.owner_id, safe='')}:{period}"
    return NewBudget(budget_id, tenant_id, "owner", budget.limit_usd_nanos, period)


def promotion_budget(day: str, limit_usd_nanos: int) -> NewBudget:
    """What the node gives away in a day."""
    return NewBudget(f"promotion:{day}", OPERATOR, "promotion", limit_usd_nanos, day)


def open_budget(tenant_id: str) -> NewBudget:
    """Where the operator pays: caps bound it, this does not."""
    return NewBudget(f"open:{tenant_id}", tenant_id, "open", MAX_USD_NANOS)


def cap_id(session_id: str) -> str:
    return f"session:{session_id}"


def cap_budget(tenant_id: str, session_id: str, limit_usd_nanos: int) -> NewBudget:
    """What may be spent in a session, whoever pays."""
    return NewBudget(cap_id(session_id), tenant_id, "session", limit_usd_nanos)


def credits_budget(tenant_id: str, test: bool) -> NewBudget:
    """A tenant's credits: money, made empty. Test money has a budget of its own."""
    return NewBudget(f"{'test-' if test else ''}credits:{tenant_id}", tenant_id, "credits", 0)


def funds_budget(tenant_id: str, session_id: str, test: bool) -> NewBudget:
    """What a session was funded with: money, made empty."""
    return NewBudget(f"{'test-' if test else ''}funds:{session_id}", tenant_id, "funds", 0)


def receipt_budget(receipt_id: str) -> NewBudget:
    """What a payer without a key has paid and not used: money, made empty. All of them share one tenant."""
    return NewBudget(f"receipt:{receipt_id}", ANONYMOUS.tenant_id, "receipt", 0)
