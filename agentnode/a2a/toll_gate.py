"""The toll gate, as tasks need it (agentnode.payments.TaskGate)."""

from __future__ import annotations

from typing import Any, Protocol

from agentnode.payments import Offer, PaymentRefused, PaymentRequirement, Receipt


class Gate(Protocol):
    async def require(self, task_id: str, offer: Offer) -> PaymentRequirement: ...
    async def requirement(self, task_id: str) -> PaymentRequirement | None: ...
    async def submit(self, task_id: str, payload: Any) -> Receipt: ...
    async def outcome(self, task_id: str) -> Receipt | PaymentRefused | None: ...

    async def reject(self, task_id: str) -> None:
        """Void: from now on no payment is journaled for the task. What was journaled before stands."""
        ...

    async def unbooked_usd_nanos(self, task_id: str) -> int:
        """What the task has earned and no economic event carries yet."""
        ...

    async def book(self, task_id: str) -> None:
        """The work is done: what is not booked yet gets an event of its own. Again: nothing."""
        ...

    async def give_back(self, task_id: str) -> None:
        """The work came to nothing: what was paid for it is the payer's again, on its receipt. Again: nothing."""
        ...

    async def status(self, payment_id: str) -> dict[str, Any]:
        """`{payment_id, task_id, status, settlement?, receipts}`. Raises PaymentUnknown."""
        ...
