"""Signs a payment with the tenant's wallet through the x402 package, for our token and the exact amount only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agentnode.hire.errors import OfferUnpayable
from agentnode.hire.quote import Quote
from ledger.money import Asset

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class Wallets(Protocol):
    """The keystore: a tenant's wallet has the tenant's id as its name."""

    def account(self, name: str) -> LocalAccount:
        """Raises WalletUnknown. Slow: the file is sealed with a password."""
        ...


@dataclass(frozen=True)
class SignedPayment:
    """A payload that moves money once it leaves, and what the chain will know it by."""

    payload: Mapping[str, Any]
    nonce: str
    valid_before_s: int


def sign_payment(account: LocalAccount, quote: Quote, asset: Asset, window_s: int) -> SignedPayment:
    """An EIP-3009 authorisation for exactly the quote, open for `window_s` or as long as the seller asks if shorter.

    Blocking. Raises OfferUnpayable where the library refuses the requirement.
    """
    from pydantic import ValidationError
    from x402 import x402ClientSync
    from x402.mechanisms.evm.exact import ExactEvmClientScheme
    from x402.mechanisms.evm.signers import EthAccountSigner
    from x402.schemas import PaymentError, PaymentRequired, PaymentRequirements

    # The token's own domain, whatever the seller says: a signature over another one would pay nothing.
    requirement = PaymentRequirements(
        scheme="exact",
        network=asset.network,
        asset=asset.address,
        amount=str(quote.amount_atomic),
        pay_to=str(quote.accepted["payTo"]),
        max_timeout_seconds=min(quote.max_timeout_s, window_s),
        extra={"name": asset.name, "version": asset.version},
    )
    client = x402ClientSync().register(asset.network, ExactEvmClientScheme(EthAccountSigner(account)))
    # The library pays only the tokens it knows, and those up to a dollar: opened for this one, up to this price.
    client.set_spend_controls(
        {
            "allowed_assets": [
                {
                    "network": asset.network,
                    "asset": asset.address,
                    "max_amount_per_payment": str(quote.amount_atomic),
                }
            ]
        }
    )
    try:
        signed = client.create_payment_payload(PaymentRequired(x402_version=2, accepts=[requirement])).payload
    except (PaymentError, ValidationError, ValueError) as refusal:
        raise OfferUnpayable(f"the seller's requirement cannot be signed: {refusal}") from refusal
    authorization = signed["authorization"]
    assert int(authorization["value"]) == quote.amount_atomic
    assert str(authorization["to"]).lower() == quote.pay_to
    return SignedPayment(
        payload=_payload(quote, signed),
        nonce=str(authorization["nonce"]).lower(),
        valid_before_s=int(authorization["validBefore"]),
    )


def _payload(quote: Quote, signed: Mapping[str, Any]) -> dict[str, Any]:
    if quote.version == 1:
        return {"x402Version": 1, "scheme": "exact", "network": quote.network_name, "payload": dict(signed)}
    payload: dict[str, Any] = {"x402Version": 2, "payload": dict(signed), "accepted": dict(quote.accepted)}
    if isinstance(quote.resource, Mapping):
        payload["resource"] = dict(quote.resource)
    return payload
