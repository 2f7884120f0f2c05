"""What price lists leave out about models: capabilities, output limits, the day they end. Read when first asked.

The table is `facts.json`, written by `make_facts.py`. A model that is not in it can be called by name, and is never
chosen for a caller who named none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("facts.json")


@dataclass(frozen=True)
class Facts:
    context_window: int | None
    max_output: int | None
    capabilities: frozenset[str]
    last_day: str | None
    """`YYYY-MM-DD`: from then on its maker does not serve it."""
    called: str | None
    """What its upstream calls it, where the price list has another name for it."""


def read_facts() -> dict[str, Facts]:
    """By `upstream/name`, the name as the price list has it."""
    rows = json.loads(_TABLE.read_text())["models"]
    return {
        name: Facts(context, output, frozenset(capabilities.split()), last_day, called)
        for name, (context, output, capabilities, last_day, called) in rows.items()
    }
