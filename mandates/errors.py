"""The leaves that mandates add to the error tree (docs/mandates.md).

AgentNodeError
+-- MandateRefused              403
|   +-- MandateNotFound                 MANDATE_NOT_FOUND
|   +-- MandateInactive                 MANDATE_INACTIVE: exhausted
|   +-- MandateExpired                  MANDATE_EXPIRED
|   +-- MandateNotYetValid              MANDATE_NOT_YET_VALID
|   +-- MandateSuspended                MANDATE_SUSPENDED
|   +-- MandateRevoked                  MANDATE_REVOKED
|   +-- BudgetExceeded                  BUDGET_EXCEEDED: carries asked, room
|   +-- CategoryNotAllowed              CATEGORY_NOT_ALLOWED
|   +-- PayeeNotAllowed                 PAYEE_NOT_ALLOWED
|   +-- AgentNotAllowed                 AGENT_NOT_ALLOWED
+-- Conflict                    409
    +-- UseReplayed                     USE_REPLAYED: the use's id came before with another body, or has ended
    +-- UseSent                         USE_SENT: a payment signed under the use has left
"""

from __future__ import annotations

from ledger.errors import AgentNodeError, Conflict
from ledger.money import usd_exact


class MandateRefused(AgentNodeError):
    """The mandate does not allow it; nothing was held or spent."""

    status = 403


class MandateNotFound(MandateRefused):
    """No such mandate, or not the caller's."""

    code = "MANDATE_NOT_FOUND"


class MandateInactive(MandateRefused):
    """All that it allowed has been used."""

    code = "MANDATE_INACTIVE"


class MandateExpired(MandateRefused):
    """Its time is over."""

    code = "MANDATE_EXPIRED"


class MandateNotYetValid(MandateRefused):
    """Its time has not begun."""

    code = "MANDATE_NOT_YET_VALID"


class MandateSuspended(MandateRefused):
    """It is stopped until it is resumed."""

    code = "MANDATE_SUSPENDED"


class MandateRevoked(MandateRefused):
    """It was ended by who granted it."""

    code = "MANDATE_REVOKED"


class BudgetExceeded(MandateRefused):
    """It has no room for the amount."""

    code = "BUDGET_EXCEEDED"

    def __init__(self, asked_usd_nanos: int, room_usd_nanos: int, why: str) -> None:
        self.asked_usd_nanos = asked_usd_nanos
        self.room_usd_nanos = room_usd_nanos
        super().__init__(f"{usd_exact(asked_usd_nanos)} USD were asked, {usd_exact(room_usd_nanos)} are allowed: {why}")


class CategoryNotAllowed(MandateRefused):
    """It is for other categories."""

    code = "CATEGORY_NOT_ALLOWED"


class PayeeNotAllowed(MandateRefused):
    """It is for other payees, or the payee was not named."""

    code = "PAYEE_NOT_ALLOWED"


class AgentNotAllowed(MandateRefused):
    """It was granted to another agent."""

    code = "AGENT_NOT_ALLOWED"


class UseReplayed(Conflict):
    """The use's id came before with another body, or its use has ended."""

    code = "USE_REPLAYED"


class UseSent(Conflict):
    """A payment signed under the use has left; only the chain ends it."""

    code = "USE_SENT"
