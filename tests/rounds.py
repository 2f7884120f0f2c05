"""How long a test goes on: short in `make test`, five times as long in `make prove`."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("AGENTNODE_PROVE"))


def rounds(few: int) -> int:
    return few * 5 if LONG else few
