"""The `p402` object of a completion request: how to choose, what it may cost, from which session, what to keep."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ledger.accounts import PRIVACY_MODES
from ledger.errors import InvalidInput
from ledger.money import usd_nanos

CAPABILITIES = ("chat", "code", "vision", "reasoning", "function_calling", "json")
CHOSEN_TIERS = ("budget", "mid", "premium")
STRATEGIES = ("switch", "queue", "fail")
AT_A_LIMIT = ("fail", "pay")
MAX_CACHE_TTL_S = 86_400
MAX_NAMES = 64
MAX_NAME_LENGTH = 200


@dataclass(frozen=True)
class Weights:
    """What a choice goes by; the three sum to 1."""

    cost: float
    quality: float
    speed: float


MODES = {
    "balanced": Weights(1 / 3, 1 / 3, 1 / 3),
    "cost": Weights(0.8, 0.1, 0.1),
    "quality": Weights(0.1, 0.8, 0.1),
    "speed": Weights(0.1, 0.1, 0.8),
}
OWN_WEIGHTS = "custom"
"""What the mode is called where the caller gave weights."""


@dataclass(frozen=True)
class Options:
    """The `p402` object (docs/routing.md), checked. None: the tenant's policy or the node's default decides."""

    mode: str = "balanced"
    weights: Weights = MODES["balanced"]
    prefer_providers: frozenset[str] = frozenset()
    exclude_providers: frozenset[str] = frozenset()
    require_capabilities: frozenset[str] = frozenset()
    max_cost_usd_nanos: int | None = None
    session_id: str | None = None
    cache: bool | None = None
    cache_ttl_s: int | None = None
    failover: bool = True
    tenant_id: str | None = None
    """Accepted where it is the caller's own; it never selects a tenant."""
    privacy_mode: str | None = None
    min_context: int | None = None
    """Tokens that the model's window must have."""
    prefer_tier: str | None = None
    max_tier: str | None = None
    rate_limit_strategy: str = "switch"
    on_rate_limit: str = "fail"
    mandate_id: str | None = None
    """What is bought at a rate limit is paid within it."""


DEFAULTS = Options()
"""Of a request without a `p402` object."""


def options_of(body: dict[str, Any]) -> Options:
    """The options in a request's body. A field that is null counts as absent.

    Raises InvalidInput naming the field (`p402.max_cost`), for unknown ones too.
    """
    given = body.get("p402")
    if given is None or given == {}:
        return DEFAULTS
    if not isinstance(given, dict):
        raise InvalidInput("p402", "must be an object")
    read: dict[str, Any] = {}
    for name, value in given.items():
        field = FIELDS.get(name)
        if field is None:
            raise InvalidInput(f"p402.{str(name)[:64]}", "is not one of " + ", ".join(FIELDS))
        if value is not None:
            to, check = field
            read[to] = check(f"p402.{name}", value)
    if "weights" in read:
        read["mode"], read["weights"] = read["weights"]
    return replace(DEFAULTS, **read)


def _mode(param: str, value: Any) -> tuple[str, Weights]:
    if isinstance(value, dict):
        return OWN_WEIGHTS, _weights(param, value)
    if not isinstance(value, str) or value not in MODES:
        raise InvalidInput(param, "must be one of " + ", ".join(MODES) + ", or weights of cost, quality and speed")
    return value, MODES[value]


def _weights(param: str, value: dict[Any, Any]) -> Weights:
    for name, weight in value.items():
        if name not in ("cost", "quality", "speed"):
            raise InvalidInput(f"{param}.{str(name)[:64]}", "is not one of cost, quality, speed")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1_000_000:
            raise InvalidInput(f"{param}.{name}", "must be a number from 0 to 1000000")
    total = math.fsum(value.values())
    if total < 1e-9:
        raise InvalidInput(param, "must have a weight above 0")
    return Weights(*(value.get(name, 0) / total for name in ("cost", "quality", "speed")))


def _name(param: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_LENGTH or not value.isprintable():
        raise InvalidInput(param, f"must be a text of 1 to {MAX_NAME_LENGTH} printable characters")
    return value


def _names(param: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise InvalidInput(param, f"must be a list of at most {MAX_NAMES} names")
    return frozenset(_name(f"{param}[{index}]", name).lower() for index, name in enumerate(value))


def _capabilities(param: str, value: Any) -> frozenset[str]:
    names = _names(param, value)
    if not names <= set(CAPABILITIES):
        raise InvalidInput(param, "must be of " + ", ".join(CAPABILITIES))
    return names


def _truth(param: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(param, "must be true or false")
    return value


def _one_of(*allowed: str) -> Callable[[str, Any], str]:
    def check(param: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise InvalidInput(param, "must be one of " + ", ".join(allowed))
        return value

    return check


def _count(most: int) -> Callable[[str, Any], int]:
    def check(param: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InvalidInput(param, f"must be a whole number from 1 to {most}")
        return value

    return check


def _max_cost(param: str, value: Any) -> int:
    return usd_nanos(value, param)


FIELDS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "mode": ("weights", _mode),
    "prefer_providers": ("prefer_providers", _names),
    "exclude_providers": ("exclude_providers", _names),
    "require_capabilities": ("require_capabilities", _capabilities),
    "max_cost": ("max_cost_usd_nanos", _max_cost),
    "session_id": ("session_id", _name),
    "cache": ("cache", _truth),
    "cache_ttl": ("cache_ttl_s", _count(MAX_CACHE_TTL_S)),
    "failover": ("failover", _truth),
    "tenant_id": ("tenant_id", _name),
    "privacy_mode": ("privacy_mode", _one_of(*PRIVACY_MODES)),
    "min_context": ("min_context", _count(1_000_000_000)),
    "prefer_tier": ("prefer_tier", _one_of(*CHOSEN_TIERS)),
    "max_tier": ("max_tier", _one_of(*CHOSEN_TIERS)),
    "rate_limit_strategy": ("rate_limit_strategy", _one_of(*STRATEGIES)),
    "on_rate_limit": ("on_rate_limit", _one_of(*AT_A_LIMIT)),
    "mandate_id": ("mandate_id", _name),
}
"""By its name on the wire: the option, and what checks it."""
