"""Being paid: requirement, payload, settlement journal, signer's queue, receipt."""

from agentnode.payments.deliveries import LONGEST_KEPT, Reply, disconnected
from agentnode.payments.errors import (
    PaymentNeeded,
    PaymentRefused,
    PaymentsAbsent,
    PaymentUnknown,
    QuoteExpired,
    SettlementPending,
    SignInNeeded,
    SignInRefused,
)
from agentnode.payments.gate import TollGate
from agentnode.payments.headers import Header
from agentnode.payments.journal import Journal
from agentnode.payments.metadata import X402_EXTENSION_URIS
from agentnode.payments.offers import Offer, request_hash
from agentnode.payments.overview import Overview, wanted_of
from agentnode.payments.pricing import Count, Priced, Pricing, Quoted, Rate, read_rate
from agentnode.payments.receipts import RECEIPT_TYP, Receipt
from agentnode.payments.refunds import Refunded, Refunds
from agentnode.payments.requirement import PaymentRequirement, Terms
from agentnode.payments.sales import Sale
from agentnode.payments.schemes.onchain import NamedClaim, claim_of
from agentnode.payments.sign_in import SignIns
from agentnode.payments.standing import Standings
from agentnode.payments.toll import Toll, payment_required, sign_in_required

__all__ = [
    "LONGEST_KEPT",
    "RECEIPT_TYP",
    "X402_EXTENSION_URIS",
    "Count",
    "Header",
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
    "Refunded",
    "Refunds",
    "Reply",
    "Sale",
    "SettlementPending",
    "SignInNeeded",
    "SignInRefused",
    "SignIns",
    "Standings",
    "Terms",
    "Toll",
    "TollGate",
    "claim_of",
    "disconnected",
    "payment_required",
    "read_rate",
    "request_hash",
    "sign_in_required",
    "wanted_of",
]
