"""What a key may do: scopes, roles as named sets of them, and the caller who carries them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.errors import InvalidInput, ScopeMissing

SCOPES = frozenset({"chat", "spend", "meter:read", "meter:write", "mandates", "bazaar", "admin"})

ROLES: dict[str, frozenset[str]] = {
    "owner": SCOPES,
    "admin": SCOPES - {"spend"},
    "finance": frozenset({"spend", "meter:read", "mandates"}),
    "viewer": frozenset({"meter:read"}),
}
OPERATOR = "node"
"""The tenant that the node itself is."""


@dataclass(frozen=True)
class Caller:
    """Who asks. `payer` is the address, in lower case, that a payment or a sign-in has proved, where one did."""

    tenant_id: str
    key_id: str | None
    scopes: frozenset[str]
    payer: str | None = None

    def require(self, scope: str) -> None:
        """Raises ScopeMissing where the caller may not do what `scope` names."""
        if scope not in self.scopes:
            raise ScopeMissing(f"this needs a key with the scope {scope}")

    def require_any(self, *scopes: str) -> None:
        """Raises ScopeMissing where the caller has none of them."""
        if self.scopes.isdisjoint(scopes):
            raise ScopeMissing(f"this needs a key with the scope {' or '.join(scopes)}")

    def require_all_of(self, scopes: frozenset[str]) -> None:
        """A key hands on no more than it has. Raises ScopeMissing naming what it lacks."""
        if lacking := scopes - self.scopes:
            raise ScopeMissing(f"a key hands on no more than it has, and this one lacks {', '.join(sorted(lacking))}")

    def require_operator(self) -> None:
        """Raises ScopeMissing for who does not administer the node itself."""
        if self.tenant_id != OPERATOR or "admin" not in self.scopes:
            raise ScopeMissing(f"this needs a key of the tenant {OPERATOR} with the scope admin")


ANONYMOUS = Caller("public", None, frozenset(), None)


def checked_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Raises InvalidInput for a scope that does not exist, and for none at all."""
    asked = frozenset(scopes)
    if not asked:
        raise InvalidInput("scopes", "must name at least one scope")
    if unknown := asked - SCOPES:
        raise InvalidInput("scopes", f"has no such scope as {min(unknown)!r}; there are {', '.join(sorted(SCOPES))}")
    return asked


def scopes_of_role(role: str) -> frozenset[str]:
    """Raises InvalidInput for a role that does not exist."""
    if role not in ROLES:
        raise InvalidInput("role", f"must be one of {', '.join(ROLES)}")
    return ROLES[role]
