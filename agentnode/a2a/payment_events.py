"""What a priced task says at each step of its payment: events with the a2a-x402 extension's metadata. Pure."""

from __future__ import annotations

from typing import Any

from agentnode.a2a.errors import PaymentUnderWay
from agentnode.a2a.events import Event, failed, status, status_of
from agentnode.a2a.states import CANCELED, FAILED, INPUT_REQUIRED, WORKING
from agentnode.a2a.tables import Task
from agentnode.payments import PaymentRefused, PaymentRequirement, QuoteExpired, Receipt
from agentnode.payments.asking.task_metadata import (
    STATUS,
    completed_metadata,
    expired_metadata,
    failed_metadata,
    rejected_metadata,
    required_metadata,
    verified_metadata,
)
from ledger.ids import new_id
from ledger.money import usd_exact


def required(task: Task, asked: PaymentRequirement, now_us: int) -> dict[str, Any]:
    """The status of a task that waits for its price."""
    return status_of(
        INPUT_REQUIRED,
        now_us,
        text=f"This costs {usd_exact(task.price_usd_nanos)} USD; send the payment on this task.",
        metadata=required_metadata(asked, task.x402_version),
        message_id=new_id("msg"),
    )


def refused(task: Task, asked: PaymentRequirement, refusal: PaymentRefused, now_us: int) -> Event:
    metadata = failed_metadata(asked, refusal, task.x402_version)
    return status(INPUT_REQUIRED, now_us, text=refusal.message, metadata=metadata, message_id=new_id("msg"))


def expired(task: Task, asked: PaymentRequirement, now_us: int) -> Event:
    return failed(QuoteExpired(), now_us, new_id("msg"), expired_metadata(asked, task.x402_version))


def declined(now_us: int) -> Event:
    text = "The payment was declined."
    return status(FAILED, now_us, text=text, metadata=rejected_metadata(), message_id=new_id("msg"))


def given_back(receipt: Receipt, x402_version: int, now_us: int) -> Event:
    text = "Canceled by its payer; what was paid is on the receipt."
    paid = completed_metadata([receipt], x402_version)
    return status(CANCELED, now_us, text=text, metadata=paid, message_id=new_id("msg"))


def settling(now_us: int) -> Event:
    metadata = {STATUS: "payment-submitted"}
    return status(WORKING, now_us, text=PaymentUnderWay.says, metadata=metadata, message_id=new_id("msg"))


def verified(now_us: int) -> Event:
    text = "The payment has settled; the work begins."
    return status(WORKING, now_us, text=text, metadata=verified_metadata(), message_id=new_id("msg"))
