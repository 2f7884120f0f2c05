"""Policies as they are sent and kept: checked field by field on the way in, complete on the way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.accounts.policy import (
    NOTHING_SAID,
    OWNER_TYPES,
    PERIODS,
    PRIVACY_MODES,
    Names,
    OwnerBudget,
    Policy,
    Said,
)
from ledger.errors import InvalidInput
from ledger.money import usd_exact, usd_fields, usd_nanos

_USD_LIMITS = {"usd_per_day": "usd_nanos_per_day", "usd_per_request": "usd_nanos_per_request"}
_COUNTS = ("requests_per_hour", "concurrent")
_MAX_COUNT = 1_000_000_000
_MAX_NAMES = 1_000
_FIELDS = ("limits", "models", "vendors", "billing", "anomaly", "privacy_mode", "unsigned_mandates", "budgets")


def said_in(document: Mapping[str, Any] | None) -> Said:
    """What a policy of the wire's form says. A field that is absent or null says nothing; empty lists neither.

    Raises InvalidInput naming the field that is unknown or malformed.
    """
    if document is None:
        return NOTHING_SAID
    if not isinstance(document, Mapping):
        raise InvalidInput("policy", "must be an object")
    _known(document, _FIELDS, "policy")
    return Said(
        limits=_limits(_object(document, "limits")),
        models=_names(_object(document, "models"), "models"),
        vendors=_names(_object(document, "vendors"), "vendors"),
        billing=_choice(document, "billing", ("open", "prepaid")),
        anomaly=_choice(document, "anomaly", ("soft", "hard")),
        privacy_mode=_choice(document, "privacy_mode", PRIVACY_MODES),
        unsigned_mandates=_choice(document, "unsigned_mandates", (True, False)),
        budgets=_budgets(document.get("budgets")),
    )


def document_of(said: Said) -> dict[str, Any]:
    """As it is kept: only what was said, money as exact decimal strings."""
    kept: dict[str, Any] = {
        "limits": {
            **{name: said.limits[name] for name in _COUNTS if name in said.limits},
            **{name: usd_exact(said.limits[nanos]) for name, nanos in _USD_LIMITS.items() if nanos in said.limits},
        },
        "models": _names_document(said.models),
        "vendors": _names_document(said.vendors),
        "billing": said.billing,
        "anomaly": said.anomaly,
        "privacy_mode": said.privacy_mode,
        "unsigned_mandates": said.unsigned_mandates,
        "budgets": [{**_owner(budget), "limit_usd": usd_exact(budget.limit_usd_nanos)} for budget in said.budgets],
    }
    return {name: value for name, value in kept.items() if value not in ({}, [], None)}


def shown(policy: Policy) -> dict[str, Any]:
    """The policy that holds, as an answer shows it; sent back it says the same."""
    limits = policy.limits
    return {
        "limits": {
            "requests_per_hour": limits.requests_per_hour,
            **usd_fields("usd_per_day", limits.usd_nanos_per_day),
            "concurrent": limits.concurrent,
            **usd_fields("usd_per_request", limits.usd_nanos_per_request),
        },
        "models": {"allow": sorted(policy.models.allow or ()), "deny": sorted(policy.models.deny)},
        "vendors": {"allow": sorted(policy.vendors.allow or ()), "deny": sorted(policy.vendors.deny)},
        "billing": policy.billing,
        "anomaly": policy.anomaly,
        "privacy_mode": policy.privacy_mode,
        "unsigned_mandates": policy.unsigned_mandates,
        "budgets": [{**_owner(budget), **usd_fields("limit_usd", budget.limit_usd_nanos)} for budget in policy.budgets],
    }


def _limits(sent: Mapping[str, Any]) -> dict[str, int]:
    _known(sent, (*_COUNTS, *_USD_LIMITS, *(f"{name}_exact" for name in _USD_LIMITS)), "limits")
    limits: dict[str, int] = {}
    for name in _COUNTS:
        value = sent.get(name)
        if value is None:
            continue
        if type(value) is not int or not 0 <= value <= _MAX_COUNT:
            raise InvalidInput(f"limits.{name}", f"must be an integer from 0 to {_MAX_COUNT}")
        limits[name] = value
    for name, nanos in _USD_LIMITS.items():
        amount = _usd(sent, name, f"limits.{name}")
        if amount is not None:
            limits[nanos] = amount
    return limits


def _budgets(sent: Any) -> tuple[OwnerBudget, ...]:
    if sent is None:
        return ()
    if not isinstance(sent, list) or len(sent) > _MAX_NAMES:
        raise InvalidInput("budgets", f"must be a list of at most {_MAX_NAMES}")
    found: dict[tuple[str, str, str], OwnerBudget] = {}
    for number, each in enumerate(sent):
        param = f"budgets.{number}"
        if not isinstance(each, Mapping):
            raise InvalidInput(param, "must be an object")
        _known(each, ("owner_type", "owner_id", "period", "limit_usd", "limit_usd_exact"), param)
        owner_type, period = (
            _choice(each, "owner_type", OWNER_TYPES, param),
            _choice(each, "period", PERIODS, param),
        )
        limit = _usd(each, "limit_usd", f"{param}.limit_usd")
        if owner_type is None or period is None or limit is None:
            raise InvalidInput(param, "must name owner_type, owner_id, period and limit_usd")
        key = (owner_type, _text(each.get("owner_id"), f"{param}.owner_id"), period)
        if key in found:
            raise InvalidInput(param, "names the same owner and period as another")
        found[key] = OwnerBudget(*key, limit)
    return tuple(found.values())


def _names(sent: Mapping[str, Any], param: str) -> Names:
    _known(sent, ("allow", "deny"), param)
    allow, deny = (_texts(sent.get(name), f"{param}.{name}") for name in ("allow", "deny"))
    return Names(allow or None, deny)


def _names_document(names: Names) -> dict[str, list[str]]:
    return {name: sorted(each) for name, each in (("allow", names.allow), ("deny", names.deny)) if each}


def _owner(budget: OwnerBudget) -> dict[str, str]:
    return {"owner_type": budget.owner_type, "owner_id": budget.owner_id, "period": budget.period}


def _usd(sent: Mapping[str, Any], name: str, param: str) -> int | None:
    """From the number or its exact twin; both, where an answer is sent back, must say the same."""
    amounts = [usd_nanos(sent[key], param) for key in (f"{name}_exact", name) if sent.get(key) is not None]
    if len(amounts) == 2 and usd_fields(name, amounts[0])[name] != sent[name] and amounts[0] != amounts[1]:
        raise InvalidInput(param, f"differs from {name}_exact; change both or leave that away")
    return amounts[0] if amounts else None


def _choice(sent: Mapping[str, Any], name: str, choices: Iterable[Any], under: str = "") -> Any:
    value = sent.get(name)
    if value is None:
        return None
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return value
    told = ", ".join(str(choice).lower() if isinstance(choice, bool) else choice for choice in choices)
    raise InvalidInput(f"{under}.{name}" if under else name, f"must be one of {told}")


def _object(sent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = sent.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(name, "must be an object")
    return value


def _texts(sent: Any, param: str) -> frozenset[str]:
    if sent is None:
        return frozenset()
    if not isinstance(sent, list) or len(sent) > _MAX_NAMES:
        raise InvalidInput(param, f"must be a list of at most {_MAX_NAMES} names")
    return frozenset(_text(each, param) for each in sent)


def _text(value: Any, param: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
        raise InvalidInput(param, "must be a text of 1 to 200 printable characters")
    return value


def _known(sent: Mapping[str, Any], names: Iterable[str], param: str) -> None:
    if unknown := set(sent) - set(names):
        raise InvalidInput(f"{param}.{min(map(str, unknown))}", f"is unknown; there are {', '.join(names)}")
