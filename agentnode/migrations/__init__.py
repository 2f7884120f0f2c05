"""Where the migrations of all packages stand: one Alembic tree, a branch label per package."""

from __future__ import annotations

from pathlib import Path

_HOUSE = Path(__file__).parent.parent.parent
LOCATIONS = [_HOUSE / package / "migrations" / "versions" for package in ("engine", "mandates", "bazaar", "agentnode")]
