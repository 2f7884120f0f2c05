"""Who may spend from what: tenants, keys and policies, sessions and credits, and the account that a call is made on."""

from ledger.accounts.account import Account
from ledger.accounts.accounts import Accounts, KeySummary, NewKey
from ledger.accounts.book import AccountBook
from ledger.accounts.credits import NANOS_PER_CREDIT, Balance, Credits, Entry, Purchase
from ledger.accounts.documents import shown
from ledger.accounts.leftovers import Leftovers
from ledger.accounts.money import PaidIn, fund, move, withdraw
from ledger.accounts.periods import receipt_budget
from ledger.accounts.policies import Policies
from ledger.accounts.policy import (
    DEFAULT_LIMITS,
    PRIVACY_MODES,
    Limits,
    Names,
    OwnerBudget,
    Policy,
    limits_of,
    tightest,
)
from ledger.accounts.scopes import ANONYMOUS, OPERATOR, ROLES, SCOPES, Caller, checked_scopes, scopes_of_role
from ledger.accounts.session import Session
from ledger.accounts.sessions import PAID_SOURCES, Bind, Funding, NewSession, Sessions

__all__ = [
    "ANONYMOUS",
    "DEFAULT_LIMITS",
    "NANOS_PER_CREDIT",
    "OPERATOR",
    "PAID_SOURCES",
    "PRIVACY_MODES",
    "ROLES",
    "SCOPES",
    "Account",
    "AccountBook",
    "Accounts",
    "Balance",
    "Bind",
    "Caller",
    "Credits",
    "Entry",
    "Funding",
    "KeySummary",
    "Leftovers",
    "Limits",
    "Names",
    "NewKey",
    "NewSession",
    "OwnerBudget",
    "PaidIn",
    "Policies",
    "Policy",
    "Purchase",
    "Session",
    "Sessions",
    "checked_scopes",
    "fund",
    "limits_of",
    "move",
    "receipt_budget",
    "scopes_of_role",
    "shown",
    "tightest",
    "withdraw",
]
