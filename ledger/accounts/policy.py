"""What a tenant or a key may do, pure: what was said, by whom, and the policy that holds in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ledger.money import NANOS_PER_USD

Billing = Literal["open", "prepaid"]
Anomaly = Literal["soft", "hard"]
Period = Literal["day", "month", "total"]

PRIVACY_MODES = ("metadata_only", "private_gateway", "fingerprint_only", "redacted_trace", "full_trace")
"""Tightest first; the first two are as tight as each other."""
OWNER_TYPES = ("agent", "department", "employee", "customer", "project", "feature", "workflow", "vendor", "task")
PERIODS: tuple[Period, ...] = ("day", "month", "total")

Attribution: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    requests_per_hour: int
    usd_nanos_per_day: int
    concurrent: int
    usd_nanos_per_request: int


DEFAULT_LIMITS = Limits(
    requests_per_hour=1_000,
    usd_nanos_per_day=1_000 * NANOS_PER_USD,
    concurrent=10,
    usd_nanos_per_request=50 * NANOS_PER_USD,
)
HUMAN_REQUESTS_PER_HOUR = 2_000


@dataclass(frozen=True, slots=True)
class Names:
    """Models or vendors that may serve. `allow` is None where everything may that is not denied."""

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    def tightened(self, by: Names) -> Names:
        allows = [allow for allow in (self.allow, by.allow) if allow is not None]
        return Names(frozenset.intersection(*allows) if allows else None, self.deny | by.deny)


@dataclass(frozen=True, slots=True)
class OwnerBudget:
    """What one owner, such as a department or an agent, may spend in each period."""

    owner_type: str
    owner_id: str
    period: Period
    limit_usd_nanos: int


@dataclass(frozen=True, slots=True)
class Said:
    """A policy as one party said it: None, or an absent limit, where it says nothing."""

    limits: Mapping[str, int] = field(default_factory=dict)
    """by the names of the fields of Limits"""
    models: Names = Names()
    vendors: Names = Names()
    billing: Billing | None = None
    anomaly: Anomaly | None = None
    privacy_mode: str | None = None
    unsigned_mandates: bool | None = None
    budgets: tuple[OwnerBudget, ...] = ()


NOTHING_SAID = Said()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one caller."""

    limits: Limits
    models: Names = Names()
    vendors: Names = Names()
    billing: Billing = "prepaid"
    anomaly: Anomaly = "soft"
    privacy_mode: str = "metadata_only"
    unsigned_mandates: bool = False
    budgets: tuple[OwnerBudget, ...] = ()


def limits_of(defaults: Limits, said: Sequence[Said], human: bool = False) -> Limits:
    """The operator's word replaces the default, the others' words only lower it.

    `said` is the operator's, then the tenant's, then narrower ones. A verified human has a higher default of
    requests in an hour (issue: 2000), never more than what the operator said.
    """
    limits = {name: getattr(defaults, name) for name in Limits.__slots__}
    if human:
        limits["requests_per_hour"] = max(HUMAN_REQUESTS_PER_HOUR, defaults.requests_per_hour)
    operator, *others = said
    limits |= operator.limits
    for each in others:
        limits |= {name: min(limits[name], value) for name, value in each.limits.items()}
    return Limits(**limits)


def policy_of(
    defaults: Limits, billing: str, operator: Said, tenant: Said, *narrower: Said, human: bool = False
) -> Policy:
    """The policy that holds: the operator's frame, the tenant's wish within it, and what a key or session narrows."""
    said = (operator, tenant, *narrower)
    models, vendors = Names(), Names()
    for each in said:
        models, vendors = models.tightened(each.models), vendors.tightened(each.vendors)
    return Policy(
        limits=limits_of(defaults, said, human),
        models=models,
        vendors=vendors,
        billing=operator.billing or ("open" if billing == "open" else "prepaid"),
        anomaly="hard" if any(each.anomaly == "hard" for each in said) else "soft",
        privacy_mode=tightest(
            tenant.privacy_mode or operator.privacy_mode or "metadata_only", *(each.privacy_mode for each in narrower)
        ),
        unsigned_mandates=any(each.unsigned_mandates for each in said)
        and not any(each.unsigned_mandates is False for each in said),
        budgets=operator.budgets + tenant.budgets,
    )


def tightest(mode: str, *modes: str | None) -> str:
    """The first mode, or a tighter one among the others: a caller only tightens."""
    return min((mode, *(each for each in modes if each is not None)), key=_tightness)


def _tightness(mode: str) -> int:
    return max(0, PRIVACY_MODES.index(mode) - 1)


def wider_than(asked: Said, frame: Limits) -> str | None:
    """The first limit that asks for more than the frame allows; None where it keeps within."""
    return next((name for name, value in asked.limits.items() if value > getattr(frame, name)), None)


def owners_of(
    budgets: Sequence[OwnerBudget], attribution: Attribution, agents: Sequence[str] = ()
) -> tuple[OwnerBudget, ...]:
    """Those budgets whose owner the request names (`department_id` or `department`), or is the session's agent."""
    return lowest([budget for budget in budgets if _owns(budget, attribution, agents)]) if budgets else ()


def lowest(budgets: Sequence[OwnerBudget]) -> tuple[OwnerBudget, ...]:
    """Where two stand for the same owner and period, the operator's and the tenant's, the lower one."""
    found: dict[tuple[str, str, str], OwnerBudget] = {}
    for budget in budgets:
        key = (budget.owner_type, budget.owner_id, budget.period)
        if key not in found or budget.limit_usd_nanos < found[key].limit_usd_nanos:
            found[key] = budget
    return tuple(found.values())


def _owns(budget: OwnerBudget, attribution: Attribution, agents: Sequence[str]) -> bool:
    if budget.owner_type == "agent" and agents:
        return budget.owner_id in agents
    owner = (attribution.get("owner_type"), attribution.get("owner_id"))
    # A task is named by its type: `task_type`.
    named = (attribution.get(f"{budget.owner_type}{ending}") for ending in ("_id", "_type", ""))
    return budget.owner_id in named or owner == (budget.owner_type, budget.owner_id)
