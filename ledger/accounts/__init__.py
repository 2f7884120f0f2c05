"""Who may spend from what: tenants, their API keys and policies, and the account that a call is made on."""

from ledger.accounts.account import Account
from ledger.accounts.accounts import Accounts, KeyHasher, KeySummary, NewKey
from ledger.accounts.book import AccountBook
from ledger.accounts.policy import DEFAULT_LIMITS, Limits, Names, OwnerBudget, Policy, limits_of, tightest
from ledger.accounts.scopes import ANONYMOUS, ROLES, SCOPES, Caller, scopes_of_role

__all__ = [
    "ANONYMOUS",
    "DEFAULT_LIMITS",
    "ROLES",
    "SCOPES",
    "Account",
    "AccountBook",
    "Accounts",
    "Caller",
    "KeyHasher",
    "KeySummary",
    "Limits",
    "Names",
    "NewKey",
    "OwnerBudget",
    "Policy",
    "limits_of",
    "scopes_of_role",
    "tightest",
]
