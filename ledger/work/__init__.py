"""What must happen once: idempotent requests, and claims with lease and fence."""

from ledger.work.claims import Claim, ClaimLost, Claims
from ledger.work.idempotency import Idempotency, Replay

__all__ = ["Claim", "ClaimLost", "Claims", "Idempotency", "Replay"]
