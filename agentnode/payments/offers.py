"""What an HTTP request costs, as a quote that the node need not remember: it carries its own seal. Pure but for that.

A stranger who asks for prices writes no row. The seal (HMAC under the node's secret) covers the amount, the end, the
price list's version, the resource and the hash of the input, so that a payer can change none of them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Protocol

from agentnode.payments.errors import PaymentRefused
from agentnode.payments.headers import SentPayment
from agentnode.payments.requirement import PaymentRequirement, Terms
from ledger.clock import SECOND_US, seconds
from ledger.money import Asset

_QUOTE = re.compile(r"quo_([0-9]{1,78})_([0-9]{1,12})_([0-9a-f]{32})", re.ASCII)
_VERSION = re.compile(r"[\x21-\x7e]{0,100}", re.ASCII)


class Hasher(Protocol):
    def keyed_hash(self, data: bytes) -> str: ...


@dataclass(frozen=True)
class Offer:
    """One request and its price."""

    price_usd_nanos: int
    resource: str
    """the URL that is bought"""
    description: str
    input_hash: str
    """of what is bought, 64 hex digits (`request_hash`)"""
    price_version: str = ""


def request_hash(method: str, path: str, query: bytes, body: bytes) -> str:
    """What a payment over HTTP is for: another method, path, query or body is another purchase."""
    head = f"{method.upper()}\n{path}\n".encode() + query + b"\n"
    return hashlib.sha256(head + hashlib.sha256(body).digest()).hexdigest()


class Quotes:
    def __init__(self, hasher: Hasher, asset: Asset, pay_to: str, terms: Terms) -> None:
        self._hasher, self._asset, self._pay_to, self._terms = hasher, asset, pay_to, terms

    def new(self, offer: Offer, now_us: int) -> PaymentRequirement:
        """The price of now, good for the life of a quote."""
        amount = self._asset.atomic_from_nanos(offer.price_usd_nanos)
        expires_s = seconds(now_us) + self._terms.quote_life_s
        return self._requirement(offer, amount, expires_s, offer.price_version)

    def answered(self, offer: Offer, sent: SentPayment, now_us: int) -> PaymentRequirement:
        """The requirement that a payment for this request answers.

        Version 2, and every receipt, names its quote. Version 1 cannot, so there the price of now counts.
        Raises PaymentRefused where the quote is for something else, or none of ours.
        """
        said, version = self._said(sent), offer.price_version
        if said is None:
            return self.new(offer, now_us)
        if sent.payload.get("x402Version") == 2:
            version = said.get("priceVersion", "")
        quote = _QUOTE.fullmatch(str(said.get("quoteId")))
        if quote is None or not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise PaymentRefused("INVALID_AMOUNT", "the payment names no quote of this seller; ask for the price again")
        asked = self._requirement(offer, int(quote[1]), int(quote[2]), version)
        if asked.quote_id != quote[0]:
            raise PaymentRefused("INVALID_AMOUNT", "the quote is for another request; ask for this one's price")
        if sent.payload.get("x402Version") == 2 and said != asked.accepts_v2(sent.scheme)["extra"]:
            raise PaymentRefused("INVALID_AMOUNT", "accepted.extra is not what was asked")
        return asked

    @staticmethod
    def _said(sent: SentPayment) -> dict[str, Any] | None:
        """Where the payment names its quote."""
        if sent.payload.get("x402Version") == 2:
            accepted = sent.payload.get("accepted")
            extra = accepted.get("extra") if isinstance(accepted, dict) else None
            return extra if isinstance(extra, dict) else {}
        return sent.inner if sent.scheme == "receipt" else None

    def _requirement(self, offer: Offer, amount: int, expires_s: int, price_version: str) -> PaymentRequirement:
        bound = (self._asset.network, self._asset.address.lower(), self._pay_to.lower(), amount, expires_s)
        text = "\n".join(map(str, (*bound, price_version, offer.input_hash, offer.resource)))
        seal = self._hasher.keyed_hash(b"quote\n" + text.encode())[:32]
        return PaymentRequirement(
            payment_id="",
            task_id="",
            quote_id=f"quo_{amount}_{expires_s}_{seal}",
            price_usd_nanos=self._asset.nanos_from_atomic(amount),
            amount_atomic=amount,
            asset=self._asset,
            pay_to=self._pay_to,
            resource=offer.resource,
            description=offer.description,
            input_hash=offer.input_hash,
            expires_at_us=expires_s * SECOND_US,
            max_timeout_s=self._terms.max_timeout_s,
            price_version=price_version,
            x402_versions=self._terms.x402_versions,
        )
