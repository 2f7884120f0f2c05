"""Being paid: requirement, payload, settlement journal, signer's queue, receipt."""

from agentnode.payments.errors import (
    PaymentRefused,
    PaymentsAbsent,
    PaymentUnknown,
    QuoteExpired,
    SettlementPending,
)
from agentnode.payments.gate import TollGate
from agentnode.payments.journal import Journal
from agentnode.payments.metadata import X402_EXTENSION_URIS
from agentnode.payments.overview import Overview, wanted_of
from agentnode.payments.receipts import RECEIPT_TYP, Receipt
from agentnode.payments.requirement import PaymentRequirement, Terms

__all__ = [
    "RECEIPT_TYP",
    "X402_EXTENSION_URIS",
    "Journal",
    "Overview",
    "PaymentRefused",
    "PaymentRequirement",
    "PaymentUnknown",
    "PaymentsAbsent",
    "QuoteExpired",
    "Receipt",
    "SettlementPending",
    "Terms",
    "TollGate",
    "wanted_of",
]
