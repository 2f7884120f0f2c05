"""How one model is written in many ways, and what of a name is only its date. Pure."""

from __future__ import annotations

import re

_DATE = re.compile(r"-(?:20\d\d-?\d\d-?\d\d|\d\d-20\d\d|latest)$")


def base_name(name: str) -> str:
    """Without the date of a snapshot: `gpt-4o-2024-08-06`, `claude-opus-4-1-20250805`, `command-r-08-2024`."""
    return _DATE.sub("", name)


def plain(name: str) -> str:
    """What is compared: `anthropic/claude-opus-4.1` is `anthropic/claude-opus-4-1`."""
    return name.lower().replace(".", "-").replace("_", "-")


def model_of(name: str) -> str:
    """The model without its maker, its date and its variant: `Meta-Llama/Llama-3.3-70B:free` is `llama-3-3-70b`."""
    last = plain(base_name(name.rpartition("/")[2].partition(":")[0]))
    return re.sub(r"(?<=\d)p(?=\d)", "-", last)
