"""Reads a payer's payload in either version of x402 and says whether it offers what is asked. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.errors import AssetMismatch, ChainIdMismatch, InputChanged, PaymentRefused, QuoteUnknown
from trust.networks import network_of

MIN_WINDOW_LEFT_S = 6
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NONCE = re.compile(r"0x[0-9a-fA-F]{64}")
_SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2}){65,4096}")
_UINT = re.compile(r"[0-9]{1,78}")


Dialect = Literal["v2", "v1", "p402"]


@dataclass(frozen=True)
class SentPayment:
    """A PaymentPayload of version 1 or 2 as it was sent, whatever it is worth, and the header in whose form it came."""

    dialect: Dialect
    payload: Any

    @property
    def is_v2(self) -> bool:
        return bool(self._outer.get("x402Version") == 2)

    @property
    def scheme(self) -> str:
        """Empty where it names none."""
        return self._named("scheme")

    @property
    def asset(self) -> str:
        """The token's address, as it was sent; empty where it is not named."""
        return self._named("asset" if self.is_v2 else "token")

    @property
    def inner(self) -> dict[str, Any]:
        """What the scheme says: the member `payload`."""
        return _dict(self._outer.get("payload"))

    @property
    def extensions(self) -> dict[str, Any]:
        return _dict(self._outer.get("extensions"))

    @property
    def accepted(self) -> dict[str, Any]:
        """Which of the requirements version 2 says that it meets."""
        return _dict(self._outer.get("accepted"))

    @property
    def _outer(self) -> dict[str, Any]:
        return _dict(self.payload)

    def _named(self, member: str) -> str:
        return str((self.accepted if self.is_v2 else self._outer).get(member, ""))


@dataclass(frozen=True)
class Authorization:
    """An EIP-3009 TransferWithAuthorization as the payer signed it. Addresses and nonce in lower case."""

    network: str
    asset: str
    payer: str
    payee: str
    amount_atomic: int
    valid_after_s: int
    valid_before_s: int
    nonce: str
    signature: str

    scheme = "exact"

    def payload(self) -> dict[str, Any]:
        """The `payload` member of both versions' PaymentPayload."""
        return {
            "signature": self.signature,
            "authorization": {
                "from": self.payer,
                "to": self.payee,
                "value": str(self.amount_atomic),
                "validAfter": str(self.valid_after_s),
                "validBefore": str(self.valid_before_s),
                "nonce": self.nonce,
            },
        }


def read_authorization(payload: Any, asked: PaymentRequirement) -> Authorization:
    """The authorisation inside a PaymentPayload of version 1 or 2 that claims to meet `asked`.

    Raises PaymentRefused naming the member that is missing, malformed, or names other terms.
    """
    return _authorization(inner_of(payload, asked, "exact"), asked)


def inner_of(payload: Any, asked: PaymentRequirement, scheme: str) -> dict[str, Any]:
    """The member `payload` of a PaymentPayload that accepts `asked` under `scheme`.

    Raises PaymentRefused naming the member that is missing, malformed, or names other terms.
    """
    outer = _object(payload, "payload")
    version = outer.get("x402Version", 1)
    if version == 2:
        accepted = _object(outer.get("accepted"), "accepted")
        named, network, asset = (accepted.get(member) for member in ("scheme", "network", "asset"))
        if network != asked.asset.network:
            raise ChainIdMismatch(f"accepted.network is {network!r}, not {asked.asset.network}")
        if str(asset).lower() != asked.asset.address.lower():
            raise AssetMismatch(f"accepted.asset is not {asked.asset.address}")
        if str(accepted.get("payTo")).lower() != asked.pay_to.lower():
            raise PaymentRefused("INVALID_SIGNATURE", f"accepted.payTo is not {asked.pay_to}")
        if str(accepted.get("amount")) != str(asked.amount_atomic):
            raise PaymentRefused("INVALID_AMOUNT", f"accepted.amount is not {asked.amount_atomic}")
        _check_quote(accepted.get("extra"), asked)
    elif version == 1:
        named, network = outer.get("scheme"), outer.get("network")
        if network not in (network_of(asked.asset.network).v1_name, asked.asset.network):
            raise ChainIdMismatch(f"network is {network!r}, not {network_of(asked.asset.network).v1_name}")
    else:
        raise PaymentRefused("SETTLEMENT_FAILED", "x402Version must be 1 or 2")
    if named != scheme:
        raise PaymentRefused("SETTLEMENT_FAILED", f"scheme must be {scheme}")
    return _object(outer.get("payload"), "payload.payload")


def _check_quote(extra: Any, asked: PaymentRequirement) -> None:
    """A client sends back what it accepted: what it names of a quote must be this one. Other sellers keep their own."""
    said = extra if isinstance(extra, dict) and asked.quote_id else {}
    if said.get("inputHash", asked.input_hash) != asked.input_hash:
        raise InputChanged("accepted.extra.inputHash is of another input than the one that was priced")
    if (said.get("quoteId", asked.quote_id), said.get("priceVersion", asked.price_version)) != (
        asked.quote_id,
        asked.price_version,
    ):
        raise QuoteUnknown("accepted.extra names another quote than the one that was given")


def check_token(payload: dict[str, Any], asked: PaymentRequirement) -> None:
    """P402's header names token and amount beside the payload. Raises PaymentRefused where they are others."""
    if "token" not in payload:
        return
    if str(payload["token"]).lower() != asked.asset.address.lower():
        raise AssetMismatch(f"token is not {asked.asset.address}")
    if str(payload.get("amount")) != str(asked.amount_atomic):
        raise PaymentRefused("INVALID_AMOUNT", f"amount is not {asked.amount_atomic}")


def check_terms(offered: Authorization, asked: PaymentRequirement, now_s: int) -> None:
    """Raises PaymentRefused unless the authorisation itself pays what is asked, to whom, within an open window.

    A window longer than asked is accepted (the reference client signs an hour); one that is not open yet, or
    ends before a transaction can be mined, is not.
    """
    if offered.payee != asked.pay_to.lower():
        raise PaymentRefused("INVALID_SIGNATURE", f"authorization.to is not {asked.pay_to}")
    if offered.amount_atomic != asked.amount_atomic:
        raise PaymentRefused("INVALID_AMOUNT", f"authorization.value is not {asked.amount_atomic}")
    if offered.valid_after_s > now_s:
        raise PaymentRefused("EXPIRED_PAYMENT", "authorization.validAfter lies in the future: the window is not open")
    if offered.valid_before_s < now_s + MIN_WINDOW_LEFT_S:
        raise PaymentRefused("EXPIRED_PAYMENT", "authorization.validBefore is past, or too near to be mined in time")


def _authorization(inner: dict[str, Any], asked: PaymentRequirement) -> Authorization:
    signed = _object(inner.get("authorization"), "authorization")
    return Authorization(
        network=asked.asset.network,
        asset=asked.asset.address.lower(),
        payer=_text(signed, "from", _ADDRESS).lower(),
        payee=_text(signed, "to", _ADDRESS).lower(),
        amount_atomic=_uint(signed, "value"),
        valid_after_s=_uint(signed, "validAfter"),
        valid_before_s=_uint(signed, "validBefore"),
        nonce=_text(signed, "nonce", _NONCE).lower(),
        signature=_text(inner, "signature", _SIGNATURE).lower(),
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PaymentRefused("SETTLEMENT_FAILED", f"{name} must be an object")
    return value


def _text(holder: dict[str, Any], member: str, form: re.Pattern[str]) -> str:
    value = holder.get(member)
    if not isinstance(value, str) or not form.fullmatch(value):
        refusal = "INVALID_SIGNATURE" if member == "signature" else "SETTLEMENT_FAILED"
        raise PaymentRefused(refusal, f"{member} is missing or malformed")  # type: ignore[arg-type]
    return value


def _uint(holder: dict[str, Any], member: str) -> int:
    value = holder.get(member)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # A2A metadata is a protobuf Struct, where every number is a float
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.isascii() or not _UINT.fullmatch(text) or int(text) >= 2**256:
        refusal = "INVALID_AMOUNT" if member == "value" else "SETTLEMENT_FAILED"
        raise PaymentRefused(refusal, f"{member} must be an unsigned decimal integer")  # type: ignore[arg-type]
    return int(text)
