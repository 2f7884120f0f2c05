"""What a wallet signs to say who it is: x402's extension `sign-in-with-x`, in the words of EIP-4361. Pure but a seal.

The node remembers no challenge: its nonce carries a seal (HMAC under the node's secret) over all that is asked, so that
a proof is held against what the node itself would have asked, and no field of it is the caller's to choose.

Source: x402 specification, extensions/sign-in-with-x; EIP-4361.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agentnode.payments.asking.quotes import Hasher
from agentnode.payments.errors import SignInRefused
from ledger.clock import SECOND_US, rfc3339
from ledger.errors import InvalidInput

NAME = "sign-in-with-x"
LIFE_S = 300
_AHEAD_S = 60
"""How far the clock of the worker that asked may be ahead of the one that is told."""
_STATEMENT = "Show what this wallet has paid for."
_NONCE = re.compile(r"[0-9a-f]{32}")
_ISSUED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_SIGNATURE = re.compile(r"0x(?:[0-9a-fA-F]{2}){65,4096}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

_TEXTS = ("domain", "address", "uri", "chainId", "type", "nonce", "issuedAt", "signature")


@dataclass(frozen=True)
class Proof:
    """A proof as it was sent, whatever it is worth."""

    fields: Mapping[str, str]

    @classmethod
    def read(cls, sent: Mapping[str, Any], header: str) -> Proof:
        """Raises InvalidInput for what has not the form of one."""
        for name in _TEXTS:
            if not isinstance(sent.get(name), str):
                raise InvalidInput(header, f"must have the text {name}")
        if not _ADDRESS.fullmatch(sent["address"]) and sent["chainId"].startswith("eip155:"):
            raise InvalidInput(header, "must have an address of 0x and forty hex digits")
        return cls({name: sent[name] for name in _TEXTS})

    def __getitem__(self, name: str) -> str:
        return self.fields[name]


@dataclass(frozen=True)
class Challenge:
    """One question to a wallet, for what is at `uri`, which begins with the operator's origin, whatever was asked."""

    uri: str
    network: str
    nonce: str
    issued_at_us: int

    @property
    def domain(self) -> str:
        return urlsplit(self.uri).netloc

    @property
    def ends_at_us(self) -> int:
        return self.issued_at_us + LIFE_S * SECOND_US

    def declared(self) -> dict[str, Any]:
        """As it stands under `extensions` of a PaymentRequired object."""
        info = {
            "domain": self.domain,
            "uri": self.uri,
            "statement": _STATEMENT,
            "version": "1",
            "nonce": self.nonce,
            "issuedAt": rfc3339(self.issued_at_us),
            "expirationTime": rfc3339(self.ends_at_us),
            "resources": [self.uri],
        }
        chains = [{"chainId": self.network, "type": "eip191"}]
        return {NAME: {"info": info, "supportedChains": chains, "schema": _SCHEMA}}

    def message(self, address: str) -> str:
        """What the wallet of this address signs (EIP-4361)."""
        return (
            f"{self.domain} wants you to sign in with your Ethereum account:\n{address}\n\n{_STATEMENT}\n\n"
            f"URI: {self.uri}\nVersion: 1\nChain ID: {self.network.removeprefix('eip155:')}\nNonce: {self.nonce}\n"
            f"Issued At: {rfc3339(self.issued_at_us)}\nExpiration Time: {rfc3339(self.ends_at_us)}\n"
            f"Resources:\n- {self.uri}"
        )


class Challenges:
    def __init__(self, hasher: Hasher, network: str) -> None:
        self._hasher, self._network = hasher, network

    def new(self, uri: str, now_us: int) -> Challenge:
        issued_at_us = now_us // 1_000 * 1_000
        return self._sealed(uri, secrets.token_hex(8), issued_at_us)

    def answered(self, proof: Proof, uri: str, now_us: int) -> Challenge:
        """The challenge that the proof says it answers, asked for this `uri`. Raises SignInRefused."""
        if proof["domain"] != urlsplit(uri).netloc:
            raise SignInRefused("invalid_siwx_domain_mismatch", f"it is for {_short(proof['domain'])}, not this node")
        if proof["uri"] != uri:
            raise SignInRefused("invalid_siwx_uri_mismatch", f"it is for {_short(proof['uri'])}, not {_short(uri)}")
        if proof["type"] != "eip191" or not proof["chainId"].startswith("eip155:"):
            raise SignInRefused("invalid_siwx_unsupported_chain", f"sign with a wallet of {self._network} (eip191)")
        if proof["chainId"] != self._network:
            raise SignInRefused("invalid_siwx_chain_id", f"sign for {self._network}")
        issued_at_us = _read_time(proof["issuedAt"])
        if issued_at_us is None:
            raise SignInRefused("invalid_siwx_issued_at", "issuedAt is not as it was asked")
        if issued_at_us > now_us + _AHEAD_S * SECOND_US:
            raise SignInRefused("invalid_siwx_issued_at_in_future", "issuedAt is in the future")
        if now_us >= issued_at_us + LIFE_S * SECOND_US:
            raise SignInRefused("invalid_siwx_issued_at_too_old", f"it was asked more than {LIFE_S} s ago")
        asked = self._sealed(uri, proof["nonce"][:16], issued_at_us)
        if not _NONCE.fullmatch(proof["nonce"]) or not secrets.compare_digest(asked.nonce, proof["nonce"]):
            raise SignInRefused("invalid_siwx_nonce", "this node did not ask this; take a new challenge")
        if not _SIGNATURE.fullmatch(proof["signature"]):
            raise SignInRefused("invalid_siwx_malformed_signature", "the signature is not 0x and hex digits")
        return asked

    def _sealed(self, uri: str, chance: str, issued_at_us: int) -> Challenge:
        asked = "\n".join(("sign-in", chance, self._network, str(issued_at_us), uri))
        seal = self._hasher.keyed_hash(asked.encode("utf-8", "surrogatepass"))[:16]
        return Challenge(uri, self._network, chance + seal, issued_at_us)


def _read_time(text: str) -> int | None:
    from datetime import datetime

    if not _ISSUED.fullmatch(text):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round(read.timestamp() * 1_000) * 1_000


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "…"


_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in (*_TEXTS, "version", "statement", "requestId", "signatureScheme")},
        **{name: {"type": "string", "format": "date-time"} for name in ("issuedAt", "expirationTime", "notBefore")},
        "uri": {"type": "string", "format": "uri"},
        "resources": {"type": "array", "items": {"type": "string", "format": "uri"}},
    },
    "required": [*_TEXTS, "version"],
}
