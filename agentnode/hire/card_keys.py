"""Whether a seller's card is what it signed: with a key that the buyer has already, or that the card's own host serves.

A card without a signature is taken unless a key is pinned. A card whose signature does not hold, or cannot be checked,
is not.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from agentnode.hire.cards import read_object
from agentnode.hire.errors import CardKeyUnknown, CardSignatureWrong, CardUnsigned
from ledger.errors import AgentNodeError, InvalidInput
from trust.addresses import parse_url
from trust.errors import SignatureInvalid
from trust.signatures import cards
from trust.web import GuardedClient

_JWKS = "/.well-known/jwks.json"

Checked = dict[str, Any]
"""`{sha256, signed_by, key_from, pin}`: the hash of the card's canonical form; the key that has signed it, or None;
`pinned`, `domain` or None; and the key that the caller pinned, or None."""


class CardKeys:
    def __init__(self, web: GuardedClient, pinned: Mapping[str, Any] | None = None, on_embedded_chain: bool = False):
        """`pinned` are the operator's, by origin (`https://host`): a did:key or a JWK. Raises InvalidInput.

        `on_embedded_chain`: keys may come by plain http from this machine.
        """
        self._web = web
        self._pinned = {_origin(url): read_pin(value, f"card_keys.{url}") for url, value in (pinned or {}).items()}
        self._on_embedded_chain = on_embedded_chain

    async def check(self, card: Mapping[str, Any], card_url: str, pin: Any = None) -> Checked:
        """What was found out of the card that stands at `card_url`; `pin` is the caller's own key for it.

        Raises CardUnsigned, CardSignatureWrong, CardKeyUnknown.
        """
        signatures = card.get("signatures") or []
        demanded = [read_pin(pin, "card_key")] if pin else []
        if operators := self._pinned.get(_origin(card_url)):
            demanded.append(operators)
        found: Checked = {"sha256": _hash(card), "signed_by": None, "key_from": None, "pin": pin or None}
        if not signatures:
            if demanded:
                raise CardUnsigned(f"the card at {card_url} has no signature, and a key is pinned for it")
            return found
        for key in demanded:
            signer = _signer(card, signatures, [key])
            if signer is None:
                raise CardSignatureWrong(f"the card at {card_url} is not signed by the pinned key {key.name}")
            found |= {"signed_by": signer.name, "key_from": "pinned"}
        if not demanded:
            signer = _signer(card, signatures, await self._own_keys(card_url))
            if signer is None:
                raise CardSignatureWrong(f"no key that {_origin(card_url)} serves has signed the card at {card_url}")
            found |= {"signed_by": signer.name, "key_from": "domain"}
        return found

    async def _own_keys(self, card_url: str) -> list[cards.CardKey]:
        parts = urlsplit(card_url)
        if parts.scheme != "https" and not (self._on_embedded_chain and _is_loopback(parts.hostname)):
            raise CardKeyUnknown(f"the card at {card_url} is signed, and keys are taken over https only; pin its key")
        try:
            # One exchange: whom the host redirects to is another host.
            reply = await self._web.request("GET", urlunsplit((parts.scheme, parts.netloc, _JWKS, "", "")))
            if reply.status != 200:
                raise CardKeyUnknown(f"{_origin(card_url)}{_JWKS} answers {reply.status}; pin the card's key")
            return cards.keys_in(read_object(reply, "key set"))
        except CardKeyUnknown:
            raise
        except AgentNodeError as silent:
            raise CardKeyUnknown(f"the card at {card_url} is signed, and its host serves no keys") from silent


def read_pin(value: Any, param: str) -> cards.CardKey:
    """A did:key or a JWK, by which a card must be signed, whatever key id it says. Raises InvalidInput."""
    try:
        read = cards.read_key(value)
    except SignatureInvalid:
        raise InvalidInput(param, "must be a did:key of a P-256 key, or the JWK of a public key") from None
    return cards.CardKey(read.name, read.key)


def _signer(card: Mapping[str, Any], signatures: Any, keys: list[cards.CardKey]) -> cards.CardKey | None:
    """By the card as it was received; or by what the SDK reads of it, which is all that is used: signers that leave out
    what is at its default, or whose card has fields of 0.3 beside, sign that."""
    for form in (cards.canonical, _as_read):
        with contextlib.suppress(SignatureInvalid):
            if signer := cards.signer_of(signatures, form(card), keys):
                return signer
    return None


def _as_read(card: Mapping[str, Any]) -> bytes:
    from a2a.client.card_resolver import parse_agent_card
    from google.protobuf.json_format import MessageToDict, ParseError

    try:
        return cards.canonical(MessageToDict(parse_agent_card(copy.deepcopy(dict(card)))))
    except (ParseError, ValueError, TypeError, KeyError, AttributeError):
        raise SignatureInvalid("the card cannot be read") from None


def _hash(card: Mapping[str, Any]) -> str | None:
    try:
        return hashlib.sha256(cards.canonical(card)).hexdigest()
    except SignatureInvalid:
        return None


def _origin(url: str) -> str:
    """As the client that connects reads it: another spelling of the name or the port steps around no pin."""
    read = parse_url(url)
    return f"{read.scheme}://{read.netloc.decode()}"


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
