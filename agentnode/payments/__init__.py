"""Being paid: requirement, payload, settlement journal, signer's queue, receipt."""

from agentnode.payments.asking.pricing import Count, Priced, Pricing, Quoted, Rate, read_rate
from agentnode.payments.asking.requirement import Offer, PaymentRequirement, request_hash
from agentnode.payments.asking.task_metadata import X402_EXTENSION_URIS
from agentnode.payments.errors import (
    PaymentNeeded,
    PaymentRefused,
    PaymentsAbsent,
    PaymentUnknown,
    QuoteExpired,
    SettlementPending,
    SignInNeeded,
)
from agentnode.payments.overview import Overview, wanted_of
from agentnode.payments.receipts.receipt import RECEIPT_TYP, Receipt
from agentnode.payments.schemes.onchain import NamedClaim, claim_of
from agentnode.payments.settling.journal import Journal
from agentnode.payments.taking.deliveries import LONGEST_KEPT
from agentnode.payments.taking.headers import Header
from agentnode.payments.taking.http_gate import HttpGate
from agentnode.payments.taking.reply import Reply, disconnected, refused
from agentnode.payments.taking.sales import Sale
from agentnode.payments.taking.sign_in import SignIns
from agentnode.payments.taking.task_gate import TaskGate

__all__ = [
    "LONGEST_KEPT",
    "RECEIPT_TYP",
    "X402_EXTENSION_URIS",
    "Count",
    "Header",
    "HttpGate",
    "Journal",
    "NamedClaim",
    "Offer",
    "Overview",
    "PaymentNeeded",
    "PaymentRefused",
    "PaymentRequirement",
    "PaymentUnknown",
    "PaymentsAbsent",
    "Priced",
    "Pricing",
    "QuoteExpired",
    "Quoted",
    "Rate",
    "Receipt",
    "Reply",
    "Sale",
    "SettlementPending",
    "SignInNeeded",
    "SignIns",
    "TaskGate",
    "claim_of",
    "disconnected",
    "read_rate",
    "refused",
    "request_hash",
    "wanted_of",
]
