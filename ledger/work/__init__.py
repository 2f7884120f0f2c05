"""What must happen once: idempotent requests, claims with lease and fence, and what is to be sent to others."""

from ledger.work.claims import Claim, ClaimLost, Claims
from ledger.work.idempotency import Idempotency, Replay
from ledger.work.outbox import Delivery, Letter, LetterMissing, Outbox, Rates
from ledger.work.tables import OutboxRow

__all__ = [
    "Claim",
    "ClaimLost",
    "Claims",
    "Delivery",
    "Idempotency",
    "Letter",
    "LetterMissing",
    "Outbox",
    "OutboxRow",
    "Rates",
    "Replay",
]
