"""Why a push configuration was refused.

PushMissing   404  PUSH_CONFIG_NOT_FOUND: the task has none of that id
PushRefused   409  PUSH_CONFIG_LIMIT: the task has as many as one may have
"""

from __future__ import annotations

from ledger.errors import Conflict, NotFound


class PushMissing(NotFound):
    """The task has no push configuration of that id."""

    code = "PUSH_CONFIG_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("the task has no push configuration of that id")


class PushRefused(Conflict):
    """The task has as many push configurations as one may have."""

    code = "PUSH_CONFIG_LIMIT"
