"""The Bazaar's leaves of the error tree.

AgentNodeError
+-- ListingRefused    400   LISTING_REFUSED: a listing breaks a rule; carries every check that was made
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.errors import AgentNodeError

if TYPE_CHECKING:
    from bazaar.listing import Check


class ListingRefused(AgentNodeError):
    """A listing breaks at least one rule; `checks` are all that were made."""

    code = "LISTING_REFUSED"
    status = 400

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks
        broken = [check for check in checks if check.refuses]
        assert broken, "a listing is refused for a reason"
        rules = "; ".join(f"{check.field} breaks {check.rule} ({check.seen})" for check in broken)
        super().__init__(f"{rules}; correct it and publish again", param=broken[0].field)

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "checks": [check.as_dict() for check in self.checks]}
