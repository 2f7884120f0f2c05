"""Being the buyer: quote, hold, pay, follow, prove; and end by the chain what was left open."""

from agentnode.hire.assembly import Hiring, open_buyer, open_hiring
from agentnode.hire.buyer import Buyer
from agentnode.hire.calls import Bind, Calls
from agentnode.hire.card_keys import CardKeys
from agentnode.hire.cards import AgentCards
from agentnode.hire.chat import ChatBuyer
from agentnode.hire.errors import (
    AssetMismatch,
    CallUnknown,
    CardKeyUnknown,
    CardSignatureWrong,
    CardUnsigned,
    HireRefused,
    ListingNotActive,
    NetworkMismatch,
    NothingToBuy,
    OfferUnpayable,
    PayeeMismatch,
    PriceAboveMax,
    PurchaseUnfinished,
    SellerRefused,
    SellerUnreachable,
    WalletTooLow,
)
from agentnode.hire.request import HireRequest, ListedTerms
from agentnode.hire.wallet import Wallets

__all__ = [
    "AgentCards",
    "AssetMismatch",
    "Bind",
    "Buyer",
    "CallUnknown",
    "Calls",
    "CardKeyUnknown",
    "CardKeys",
    "CardSignatureWrong",
    "CardUnsigned",
    "ChatBuyer",
    "HireRefused",
    "HireRequest",
    "Hiring",
    "ListedTerms",
    "ListingNotActive",
    "NetworkMismatch",
    "NothingToBuy",
    "OfferUnpayable",
    "PayeeMismatch",
    "PriceAboveMax",
    "PurchaseUnfinished",
    "SellerRefused",
    "SellerUnreachable",
    "WalletTooLow",
    "Wallets",
    "open_buyer",
    "open_hiring",
]
