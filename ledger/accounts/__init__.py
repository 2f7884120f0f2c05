"""Who may spend from what: tenants, their API keys, and the caller that a key makes."""

from ledger.accounts.accounts import Accounts, KeyHasher, KeySummary, NewKey
from ledger.accounts.scopes import ANONYMOUS, ROLES, SCOPES, Caller, scopes_of_role

__all__ = [
    "ANONYMOUS",
    "ROLES",
    "SCOPES",
    "Accounts",
    "Caller",
    "KeyHasher",
    "KeySummary",
    "NewKey",
    "scopes_of_role",
]
