"""What an HTTP request costs, as a quote that the node need not remember: it carries its own seal. Pure but for that.

A stranger who asks for prices writes no row. The seal (HMAC under the node's secret) covers the amount, the end, the
price list's version, the resource and the hash of the input, so that a payer can change none of them.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Any, Protocol

from agentnode.payments.asking.requirement import Offer, PaymentRequirement, Terms, schemes_beside
from agentnode.payments.errors import AssetMismatch, InputChanged, QuoteUnknown
from agentnode.payments.networks import Assets
from agentnode.payments.schemes.payload import SentPayment
from ledger.clock import SECOND_US, seconds
from ledger.money import Asset

_QUOTE = re.compile(r"quo_([0-9]{1,78})_([0-9]{1,12})_([0-9a-f]{32})", re.ASCII)
_VERSION = re.compile(r"[\x21-\x7e]{0,100}", re.ASCII)


class Hasher(Protocol):
    @property
    def did(self) -> str: ...

    def keyed_hash(self, data: bytes) -> str: ...


class Quotes:
    """Of several assets the first takes every scheme, the others those that they know."""

    def __init__(self, hasher: Hasher, assets: Assets, pay_to: str, terms: Terms) -> None:
        self._hasher, self._assets, self._pay_to, self._terms = hasher, assets, pay_to, terms

    def new(self, offer: Offer, now_us: int) -> PaymentRequirement:
        """The price of now, good for the life of a quote."""
        expires_s = seconds(now_us) + self._terms.quote_life_s
        asked, *others = (
            self._requirement(offer, asset, asset.atomic_from_nanos(offer.price_usd_nanos), expires_s)
            for asset in self._assets
        )
        return replace(asked, alternatives=tuple(others))

    def answered(self, offer: Offer, sent: SentPayment, now_us: int) -> PaymentRequirement:
        """The requirement that a payment for this request answers.

        Version 2, and every receipt, names its quote. Version 1 cannot, so there the price of now counts.
        Raises InputChanged where the price was asked for something else, QuoteUnknown where it is none of ours.
        """
        said, version = self._said(sent), offer.price_version
        if said is None:
            return self.new(offer, now_us)
        asset = self._named(sent)
        if sent.is_v2:
            version = said.get("priceVersion", "")
        if said.get("inputHash", offer.input_hash) != offer.input_hash:
            raise InputChanged("the price was asked for another request; ask for this one's")
        quote = _QUOTE.fullmatch(str(said.get("quoteId")))
        if quote is None or not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise QuoteUnknown("the payment names no quote of this seller; ask for the price again")
        asked = self._requirement(replace(offer, price_version=version), asset, int(quote[1]), int(quote[2]))
        if not secrets.compare_digest(asked.quote_id, quote[0]):
            raise QuoteUnknown("the quote is for another request; ask for this one's price")
        if sent.is_v2 and said != asked.accepts_v2(sent.scheme)["extra"]:
            raise QuoteUnknown("accepted.extra is not what was asked")
        return asked

    def named(self, offer: Offer, name: str, asked_at_us: int, token: str, now_us: int) -> PaymentRequirement:
        """What a transfer is to pay that was made for the thing of that name, which is there since `asked_at_us`."""
        asset = self._assets.at(self._assets[0].network, token)
        if token and asset is None:
            raise AssetMismatch(f"{token} is no token that is taken here")
        asset = asset or self._assets[0]
        asked = self._requirement(offer, asset, asset.atomic_from_nanos(offer.price_usd_nanos), seconds(now_us) + 60)
        return replace(asked, quote_id=name, asked_at_us=asked_at_us)

    @staticmethod
    def _said(sent: SentPayment) -> dict[str, Any] | None:
        """Where the payment names its quote."""
        if sent.is_v2:
            extra = sent.accepted.get("extra")
            return extra if isinstance(extra, dict) else {}
        return sent.inner if sent.scheme in ("receipt", "onchain") else None

    def _named(self, sent: SentPayment) -> Asset:
        """Which of the tokens a payment accepts."""
        first = self._assets[0]
        named = self._assets.at(first.network, sent.asset)
        return named if named is not None and sent.scheme in schemes_beside(named) else first

    def _requirement(self, offer: Offer, asset: Asset, amount: int, expires_s: int) -> PaymentRequirement:
        bound = (asset.network, asset.address.lower(), self._pay_to.lower(), amount, expires_s)
        text = "\n".join(map(str, (*bound, offer.price_version, offer.input_hash, offer.resource)))
        seal = self._hasher.keyed_hash(b"quote\n" + text.encode())[:32]
        return PaymentRequirement(
            payment_id="",
            task_id="",
            quote_id=f"quo_{amount}_{expires_s}_{seal}",
            price_usd_nanos=asset.nanos_from_atomic(amount),
            amount_atomic=amount,
            asset=asset,
            pay_to=self._pay_to,
            resource=offer.resource,
            description=offer.description,
            input_hash=offer.input_hash,
            expires_at_us=expires_s * SECOND_US,
            max_timeout_s=self._terms.max_timeout_s,
            price_version=offer.price_version,
            x402_versions=self._terms.x402_versions,
            refund_window_s=self._terms.refund_window_s,
            asked_at_us=(expires_s - self._terms.quote_life_s) * SECOND_US,
            authority=self._hasher.did,
        )
