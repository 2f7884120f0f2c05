"""Why a hire did not happen, or what is left of it. All but the last two are raised before a signature has left.

AgentNodeError
+-- HireRefused              409   what the seller asks is not what the buyer agreed to; nothing was paid
|   +-- PriceAboveMax        403   PRICE_ABOVE_MAX
|   +-- PayeeMismatch        403   PAYEE_MISMATCH: another payee than the listing names
|   +-- NetworkMismatch      403   NETWORK_MISMATCH: no price on the listing's, or on our, network
|   +-- AssetMismatch        403   ASSET_MISMATCH: no price in the listing's, or in our, token
|   +-- OfferUnpayable       409   OFFER_UNPAYABLE: no price in a form that we can pay
|   +-- ListingNotActive     409   LISTING_NOT_ACTIVE
|   +-- WalletTooLow         402   WALLET_TOO_LOW: the wallet has less than the price
|   +-- CardUnsigned         403   CARD_UNSIGNED: a key is pinned for the card, and it has no signature
|   +-- CardSignatureWrong   403   CARD_SIGNATURE_WRONG: the card is not signed by the key that it must be
|   +-- CardKeyUnknown       403   CARD_KEY_UNKNOWN: the card is signed, and its host serves no key to check it with
|   +-- ChargeRefused        409   CHARGE_REFUSED: metered work was charged more than its signed usage comes to
|   +-- CallEnded            409   CALL_ENDED: the call took too long and was ended meanwhile
+-- SellerUnreachable        502   SELLER_UNREACHABLE: it does not answer, or not in A2A
+-- SellerRefused            502   SELLER_REFUSED: it answers with an error
+-- NothingToBuy             409   NOTHING_TO_BUY: nobody answers a completion for money; nothing was paid
+-- PurchaseUnfinished       502   PURCHASE_UNFINISHED: paid, or perhaps paid, and no answer yet; the call says more
+-- CallUnknown              404   CALL_NOT_FOUND
+-- PaymentsAbsent           503   CHAIN_UNAVAILABLE (agentnode.payments): a price, and no chain to pay it on
"""

from __future__ import annotations

from ledger.errors import AgentNodeError, NotFound
from ledger.money import usd_exact


class HireRefused(AgentNodeError):
    """What the seller asks is not what the buyer agreed to; nothing was signed."""

    code = "HIRE_REFUSED"
    status = 409


class PriceAboveMax(HireRefused):
    """The seller asks more than the buyer would pay."""

    code = "PRICE_ABOVE_MAX"
    status = 403

    def __init__(self, asked_usd_nanos: int, max_usd_nanos: int) -> None:
        self.asked_usd_nanos = asked_usd_nanos
        self.max_usd_nanos = max_usd_nanos
        super().__init__(
            f"the seller asks {usd_exact(asked_usd_nanos)} USD and the most is {usd_exact(max_usd_nanos)}; "
            "raise max_price or choose another"
        )


class PayeeMismatch(HireRefused):
    """The seller asks to pay somebody else than the listing names."""

    code = "PAYEE_MISMATCH"
    status = 403


class NetworkMismatch(HireRefused):
    """The seller is not paid on the network that the listing names, or that this node is on."""

    code = "NETWORK_MISMATCH"
    status = 403


class AssetMismatch(HireRefused):
    """The seller is not paid in the token that the listing names, or that this node pays with."""

    code = "ASSET_MISMATCH"
    status = 403


class OfferUnpayable(HireRefused):
    """The seller asks for a payment, but in no form that this node can pay."""

    code = "OFFER_UNPAYABLE"


class ListingNotActive(HireRefused):
    """The listing is suspended or withdrawn."""

    code = "LISTING_NOT_ACTIVE"


class WalletTooLow(HireRefused):
    """The wallet holds less than the price."""

    code = "WALLET_TOO_LOW"
    status = 402


class CardUnsigned(HireRefused):
    """A key is pinned for the seller's card, and the card has no signature."""

    code = "CARD_UNSIGNED"
    status = 403


class CardSignatureWrong(HireRefused):
    """The seller's card is not signed by the key that is pinned for it, or by none that its host serves."""

    code = "CARD_SIGNATURE_WRONG"
    status = 403


class CardKeyUnknown(HireRefused):
    """The seller's card is signed, and there is no key to check that with."""

    code = "CARD_KEY_UNKNOWN"
    status = 403


class ChargeRefused(HireRefused):
    """What the seller charged for metered work is not what its own signed usage comes to; its work is not accepted."""

    code = "CHARGE_REFUSED"


class CallEnded(HireRefused):
    """The call was ended by a recovery, because its owner was silent for too long; nothing was paid."""

    code = "CALL_ENDED"


class SellerUnreachable(AgentNodeError):
    """The seller does not answer, or not in A2A."""

    code = "SELLER_UNREACHABLE"
    status = 502


class SellerRefused(AgentNodeError):
    """The seller answers with an error."""

    code = "SELLER_REFUSED"
    status = 502


class NothingToBuy(AgentNodeError):
    """Nobody answers the completion for money; nothing was paid."""

    code = "NOTHING_TO_BUY"
    status = 409


class PurchaseUnfinished(AgentNodeError):
    """A completion was bought, and the money may have moved, but no answer has come."""

    code = "PURCHASE_UNFINISHED"
    status = 502
    should_retry = False

    def __init__(self, call_id: str) -> None:
        super().__init__(
            f"the answer was bought by {call_id}, which has not come to its end; "
            f"GET /api/v2/bazaar/calls/{call_id} says what became of it and of the money"
        )


class CallUnknown(NotFound):
    """No such call, or not the caller's."""

    code = "CALL_NOT_FOUND"
