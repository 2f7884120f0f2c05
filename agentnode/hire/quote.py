"""A seller's price: read from the x402 object of its task, and held against what the buyer agreed to. Pure.

Source: x402 specification versions 1 and 2 (PaymentRequired), a2a-x402 (`x402.payment.required`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentnode.hire.errors import AssetMismatch, NetworkMismatch, OfferUnpayable, PayeeMismatch, PriceAboveMax
from agentnode.hire.request import ListedTerms
from ledger.errors import InvalidInput
from ledger.money import Asset
from trust.networks import network_of

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_UINT = re.compile(r"[0-9]{1,78}")


@dataclass(frozen=True)
class Quote:
    """One price that we can pay. Addresses in lower case."""

    version: int
    """of the x402 object, 1 or 2: the payload is sent in the same"""
    accepted: Mapping[str, Any]
    """the entry of `accepts`, as the seller wrote it"""
    resource: Any
    network_name: str
    amount_atomic: int
    cost_usd_nanos: int
    pay_to: str
    max_timeout_s: int


def read_quote(required: Any, asset: Asset) -> Quote:
    """The first entry of `accepts` that this node can pay with `asset` by an EIP-3009 authorisation.

    Raises OfferUnpayable, NetworkMismatch or AssetMismatch where there is none.
    """
    if not isinstance(required, Mapping) or required.get("x402Version") not in (1, 2):
        raise OfferUnpayable("the seller's x402.payment.required is no x402 object of version 1 or 2")
    version = int(required["x402Version"])
    accepts = required.get("accepts")
    entries = [entry for entry in accepts if isinstance(entry, Mapping)] if isinstance(accepts, list) else []
    exact = [entry for entry in entries if entry.get("scheme") == "exact" and _is_authorization(entry)]
    if not exact:
        raise OfferUnpayable("the seller takes no payment by the exact scheme with an EIP-3009 authorisation")
    names = {asset.network} if version == 2 else {asset.network, network_of(asset.network).v1_name}
    here = [entry for entry in exact if entry.get("network") in names]
    if not here:
        raise NetworkMismatch(f"the seller is not paid on {asset.network}, where this node pays")
    ours = [entry for entry in here if str(entry.get("asset")).lower() == asset.address.lower()]
    if not ours:
        raise AssetMismatch(f"the seller is not paid in {asset.address}, which this node pays with")
    return _quote(version, ours[0], required.get("resource"), asset)


def check_quote(quote: Quote, terms: ListedTerms, asset: Asset, max_usd_nanos: int | None) -> None:
    """Against the most that the caller would pay, or the listing's price where the caller names none.

    Raises PriceAboveMax, PayeeMismatch, NetworkMismatch or AssetMismatch where it is not what was agreed, InvalidInput
    where nothing was.
    """
    if terms.network is not None and terms.network != asset.network:
        raise NetworkMismatch(f"the listing is paid on {terms.network}, and this node pays on {asset.network}")
    if terms.asset is not None and terms.asset.lower() != asset.address.lower():
        raise AssetMismatch(f"the listing is paid in {terms.asset}, and this node pays with {asset.address}")
    if terms.pay_to is not None and terms.pay_to.lower() != quote.pay_to:
        raise PayeeMismatch(f"the listing names {terms.pay_to} and the seller asks to pay {quote.pay_to}")
    if max_usd_nanos is not None:
        if quote.cost_usd_nanos > max_usd_nanos:
            raise PriceAboveMax(quote.cost_usd_nanos, max_usd_nanos)
    elif terms.price_usd_nanos is None:
        raise InvalidInput("max_price", "is needed where no listing names a price")
    elif quote.amount_atomic > asset.atomic_from_nanos(terms.price_usd_nanos):
        # In atomic units: a price below the token's smallest unit is rounded up by whoever is paid, once.
        raise PriceAboveMax(quote.cost_usd_nanos, terms.price_usd_nanos)


def cost_usd_nanos(asset: Asset, amount_atomic: int) -> int:
    """Nanos that an amount costs, rounded up: a budget is never charged less than what leaves the wallet."""
    per_token: int = 10**asset.decimals
    return -(-amount_atomic * asset.usd_nanos_per_token // per_token)


def whole_numbers(value: Any) -> Any:
    """A2A metadata as it was meant: a protobuf Struct makes every number a float (60.0 for 60)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: whole_numbers(member) for key, member in value.items()}
    if isinstance(value, list):
        return [whole_numbers(member) for member in value]
    return value


def _quote(version: int, entry: Mapping[str, Any], resource: Any, asset: Asset) -> Quote:
    amount, pay_to = entry.get("amount" if version == 2 else "maxAmountRequired"), entry.get("payTo")
    if not isinstance(amount, str) or not amount.isascii() or not _UINT.fullmatch(amount) or int(amount) == 0:
        raise OfferUnpayable("the seller's amount is not a positive decimal string")
    if not isinstance(pay_to, str) or not _ADDRESS.fullmatch(pay_to) or int(pay_to, 16) == 0:
        raise OfferUnpayable("the seller's payTo is not an address")
    timeout_s = entry.get("maxTimeoutSeconds")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int) or timeout_s <= 0:
        raise OfferUnpayable("the seller's maxTimeoutSeconds is not a positive number")
    return Quote(
        version=version,
        accepted=entry,
        resource=resource,
        network_name=str(entry["network"]),
        amount_atomic=int(amount),
        cost_usd_nanos=cost_usd_nanos(asset, int(amount)),
        pay_to=pay_to.lower(),
        max_timeout_s=timeout_s,
    )


def _is_authorization(entry: Mapping[str, Any]) -> bool:
    extra = entry.get("extra")
    return not isinstance(extra, Mapping) or extra.get("assetTransferMethod") in (None, "eip3009")
