"""The spend path: everything that can be overspent is a budget, every spend is a hold on all budgets it touches."""

from __future__ import annotations

from ledger.spend.budgets import Budget, NewBudget, cap, fit, read_budgets, refit
from ledger.spend.operations import Captured, Hold, Paid
from ledger.spend.spend import Spend
from ledger.spend.sweeper import Sweeper
from ledger.spend.tables import BudgetRow, HoldRow
from ledger.spend.takes import Take, count, share, slot, whole

__all__ = [
    "Budget",
    "BudgetRow",
    "Captured",
    "Hold",
    "HoldRow",
    "NewBudget",
    "Paid",
    "Spend",
    "Sweeper",
    "Take",
    "cap",
    "count",
    "fit",
    "read_budgets",
    "refit",
    "share",
    "slot",
    "whole",
]
