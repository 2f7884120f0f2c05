"""Why a payment was not taken, and what is left to do.

PaymentNeeded         402  PAYMENT_REQUIRED: this costs money; carries what to pay, and why a payment was refused
PaymentRefused        402  PAYMENT_REFUSED: this payload does not pay, a right one does; has the extension's code
QuoteUnknown          402  QUOTE_UNKNOWN: the payment names a quote that was not made for this
InputChanged          402  INPUT_CHANGED: what is asked for is not what was priced
ComplianceBlocked     403  COMPLIANCE_BLOCKED: the operator's list or service refuses payer or payee
ComplianceUnchecked   403  COMPLIANCE_BLOCKED: it could not be asked, so it is not allowed; later it may be
AssetMismatch         402  PAYMENT_ASSET_MISMATCH: the token that is named, or was sent, is not the one asked
ChainIdMismatch       402  PAYMENT_CHAIN_MISMATCH: the payment is for another chain
TransferMissing       402  TRANSFER_NOT_FOUND: the transaction does not pay this payee, or was reverted
TransferTooOld        402  TRANSFER_TOO_OLD: it was mined before the price was asked
TransferUnmined       409  TRANSFER_NOT_MINED: the chain does not show the transaction yet
TransferNotBelieved   409  TRANSFER_NOT_BELIEVED: a restored database may have forgotten what it has bought
GasBudgetSpent        429  FACILITATOR_GAS_SPENT: the open facilitator pays no more gas for others today
FacilitatorAbsent     503  FACILITATOR_UNAVAILABLE: nobody carries payments of this network
QuoteExpired          402  QUOTE_EXPIRED: the price was not paid in time; ask again
SettlementPending     409  SETTLEMENT_PENDING: the money may have moved; ask again with the same payload
PaymentUnknown        404  PAYMENT_NOT_FOUND
ReceiptUnknown        404  RECEIPT_NOT_FOUND
SignInNeeded          402  SIGN_IN_REQUIRED: the wallet that paid has this, and signing in shows who that is
SignInRefused         401  SIGN_IN_REFUSED: the proof proves nothing here; has the extension's code and a new challenge
AnswerNotKept         404  ANSWER_NOT_KEPT: who signed in has bought no answer to this that is still kept
RefundTooLate         409  REFUND_TOO_LATE: the receipt's window for refunds has closed
NothingToRefund       409  NOTHING_TO_REFUND: the receipt has nothing left
ReceiptInUse          409  RECEIPT_IN_USE: work under way holds some of it
ReceiptNotBelieved    409  RECEIPT_NOT_BELIEVED: a restored database may have forgotten what was spent of it
RefundUnfunded        503  REFUND_UNFUNDED: the wallet that payments go to has too little
PaymentsAbsent        503  CHAIN_UNAVAILABLE: this node has no chain to be paid on
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ledger.errors import AgentNodeError, Conflict, NotFound, Unavailable
from ledger.money import usd_exact

if TYPE_CHECKING:
    from agentnode.payments.asking.requirement import PaymentRequirement

X402Code = Literal[
    "INSUFFICIENT_FUNDS",
    "INVALID_SIGNATURE",
    "EXPIRED_PAYMENT",
    "DUPLICATE_NONCE",
    "NETWORK_MISMATCH",
    "INVALID_AMOUNT",
    "SETTLEMENT_FAILED",
]


SignInCode = Literal[
    "invalid_siwx_domain_mismatch",
    "invalid_siwx_uri_mismatch",
    "invalid_siwx_unsupported_chain",
    "invalid_siwx_chain_id",
    "invalid_siwx_issued_at",
    "invalid_siwx_issued_at_in_future",
    "invalid_siwx_issued_at_too_old",
    "invalid_siwx_nonce",
    "invalid_siwx_malformed_signature",
    "invalid_siwx_signature",
]


class PaymentRefused(AgentNodeError):
    """This payload does not pay for this task; a right one still does.

    `x402_code` is one of the a2a-x402 extension's error codes, `reason` a sentence for a person.
    """

    code = "PAYMENT_REFUSED"
    status = 402

    def __init__(self, x402_code: X402Code, reason: str) -> None:
        self.x402_code = x402_code
        self.reason = reason
        super().__init__(f"{x402_code}: {reason}")


class QuoteUnknown(PaymentRefused):
    """The payment names a quote that this seller did not make for this."""

    code = "QUOTE_UNKNOWN"

    def __init__(self, reason: str) -> None:
        super().__init__("INVALID_AMOUNT", reason)


class InputChanged(QuoteUnknown):
    """What is asked for is not what was priced."""

    code = "INPUT_CHANGED"


class ComplianceBlocked(PaymentRefused):
    """The operator may not take this payer's money, or pay it to this payee; nothing was taken."""

    code = "COMPLIANCE_BLOCKED"
    status = 403

    def __init__(self, reason: str) -> None:
        super().__init__("SETTLEMENT_FAILED", reason)


class ComplianceUnchecked(ComplianceBlocked):
    """Whether it is allowed could not be found out, so it is not."""

    retry_after_ms = 5_000


class AssetMismatch(PaymentRefused):
    """Another token than the one asked, whatever its symbol and decimals."""

    code = "PAYMENT_ASSET_MISMATCH"

    def __init__(self, reason: str) -> None:
        super().__init__("INVALID_SIGNATURE", reason)


class ChainIdMismatch(PaymentRefused):
    """A payment for another chain than the one asked."""

    code = "PAYMENT_CHAIN_MISMATCH"

    def __init__(self, reason: str) -> None:
        super().__init__("NETWORK_MISMATCH", reason)


class TransferMissing(PaymentRefused):
    """The transaction that is claimed moves nothing to this payee."""

    code = "TRANSFER_NOT_FOUND"

    def __init__(self, reason: str) -> None:
        super().__init__("SETTLEMENT_FAILED", reason)


class TransferTooOld(PaymentRefused):
    """The transfer is older than the price that it is to pay."""

    code = "TRANSFER_TOO_OLD"

    def __init__(self) -> None:
        super().__init__("EXPIRED_PAYMENT", "the transfer was mined before this price was asked")


class TransferUnmined(Conflict):
    """The chain does not show the transaction yet; nothing is known of it, and nothing was taken."""

    code = "TRANSFER_NOT_MINED"
    retry_after_ms = 2_000

    def __init__(self, tx_hash: str) -> None:
        super().__init__(f"{tx_hash} is not mined on this chain yet; send the same claim again when it is")


class TransferNotBelieved(Conflict):
    """It was mined before it was seen that this database is a restored, older one: it may have bought something."""

    code = "TRANSFER_NOT_BELIEVED"
    should_retry = False

    def __init__(self, tx_hash: str) -> None:
        super().__init__(
            f"{tx_hash} is older than this node's restored database, which may have forgotten what it has bought; its "
            "operator can send it back"
        )


class GasBudgetSpent(AgentNodeError):
    """The day's gas for other sellers' settlements is used up."""

    code = "FACILITATOR_GAS_SPENT"
    status = 429

    def __init__(self, retry_after_ms: int) -> None:
        self.retry_after_ms = retry_after_ms
        super().__init__("this facilitator pays no more gas for others today; use another, or come again tomorrow")


class FacilitatorAbsent(Unavailable):
    """No facilitator that is configured settles on this network now."""

    code = "FACILITATOR_UNAVAILABLE"
    retry_after_ms = 5_000


class PaymentNeeded(AgentNodeError):
    """A request over HTTP that a payment would cure: `required` is what to pay.

    `refusal` is why the payment that came with it does not pay, None where none came; `extensions` are what x402's
    object says beside the price.
    """

    code = "PAYMENT_REQUIRED"
    status = 402

    def __init__(
        self,
        required: PaymentRequirement,
        refusal: AgentNodeError | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        self.required, self.refusal, self.extensions = required, refusal, extensions or {}
        super().__init__(f"this costs {usd_exact(required.price_usd_nanos)} USD; pay it with x402")

    @property
    def problem(self) -> str:
        return self.message if self.refusal is None else self.refusal.message


class QuoteExpired(AgentNodeError):
    """The price was not paid while the quote lived; nothing was taken."""

    code = "QUOTE_EXPIRED"
    status = 402

    def __init__(self) -> None:
        super().__init__("the quote has expired; send the message again for a new one")


class SettlementPending(Conflict):
    """The payment has left and its outcome is not known yet: never pay again, ask again with the same payload."""

    code = "SETTLEMENT_PENDING"
    retry_after_ms = 2_000

    @property
    def location(self) -> str:
        """Where its state can be asked for."""
        return f"/api/v2/payments/{self.payment_id}"

    def __init__(self, payment_id: str) -> None:
        self.payment_id = payment_id
        super().__init__(f"the settlement of {payment_id} is not final; ask again with the same payload")


class SignInNeeded(AgentNodeError):
    """This is for the wallet that paid; no payment gets it. `extensions` has the challenge to sign."""

    code = "SIGN_IN_REQUIRED"
    status = 402

    def __init__(self, resource: str, extensions: Mapping[str, Any], refusal: SignInRefused | None = None) -> None:
        self.resource, self.extensions = resource, extensions
        why = f"; {refusal.message}" if refusal is not None else ""
        super().__init__(f"sign in with the wallet that paid (SIGN-IN-WITH-X){why}")


class SignInRefused(AgentNodeError):
    """The proof does not show here who its sender is. `siwx_code` is one of x402's extension `sign-in-with-x`.

    `extensions` has a new challenge, once it is known what was asked for.
    """

    code = "SIGN_IN_REFUSED"
    status = 401

    def __init__(self, siwx_code: SignInCode, reason: str) -> None:
        self.siwx_code, self.extensions = siwx_code, dict[str, Any]()
        super().__init__(f"{siwx_code}: {reason}")

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | ({"extensions": self.extensions} if self.extensions else {})


class AnswerNotKept(NotFound):
    """The wallet that signed in has bought no answer to this request, or it is kept no longer."""

    code = "ANSWER_NOT_KEPT"


class PaymentUnknown(NotFound):
    """No such payment."""

    code = "PAYMENT_NOT_FOUND"


class ReceiptUnknown(NotFound):
    """No such receipt."""

    code = "RECEIPT_NOT_FOUND"


class RefundTooLate(Conflict):
    """Its payer could have asked until then; the operator still can."""

    code = "REFUND_TOO_LATE"
    should_retry = False

    def __init__(self, until: str) -> None:
        super().__init__(f"this receipt could be refunded until {until}; what it has left still buys work")


class NothingToRefund(Conflict):
    """All of it was used: the work that it paid for was done."""

    code = "NOTHING_TO_REFUND"
    should_retry = False

    def __init__(self, receipt_id: str) -> None:
        super().__init__(f"{receipt_id} has nothing left to give back")


class ReceiptInUse(Conflict):
    """What is held may be used or come back; then the rest is known."""

    code = "RECEIPT_IN_USE"
    retry_after_ms = 2_000

    def __init__(self, receipt_id: str) -> None:
        super().__init__(f"work under way holds some of {receipt_id}; ask again when it has ended")


class ReceiptNotBelieved(Conflict):
    """The database was restored from an older copy, in which what was spent may look unspent."""

    code = "RECEIPT_NOT_BELIEVED"
    should_retry = False

    def __init__(self, receipt_id: str) -> None:
        super().__init__(
            f"{receipt_id} is older than this node's restored database, which may have forgotten what was spent of it; "
            "its operator can give back what is left"
        )


class RefundUnfunded(Unavailable):
    """Nothing was burned: the receipt is as good as before."""

    code = "REFUND_UNFUNDED"

    def __init__(self) -> None:
        super().__init__("the wallet that payments go to has too little for this refund; the operator must fund it")


class PaymentsAbsent(Unavailable):
    """This node has no chain, so it cannot be paid."""

    code = "CHAIN_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("this node has no chain to be paid on; start it with --chain, or ask for a free skill")
