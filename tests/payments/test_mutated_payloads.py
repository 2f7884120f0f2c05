"""A good payment changed anywhere: refused, or the same payment still. A hundred thousand of them in `make prove`."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from eth_account import Account
from test_offers_read import NOW_S, PAYEE, USDC

from agentnode.payments import Offer, PaymentRefused
from agentnode.payments.asking.quotes import Quotes
from agentnode.payments.asking.requirement import Terms
from agentnode.payments.networks import Assets
from agentnode.payments.schemes.authorship import authorization_digest, signed_by
from agentnode.payments.schemes.payload import Authorization, check_terms, check_token, read_authorization
from agentnode.payments.taking.headers import read_payment
from ledger.errors import InvalidInput
from tests.devchain.devchain_process import authorization
from tests.rounds import LONG
from trust.chain import ChainView

MANY = 100_000 if LONG else 3_000
NOW_US = NOW_S * 1_000_000
OFFER = Offer(10_000_000, "http://node/v1/things", "things", "ab" * 32, "list/1")
PAYER = Account.create()


class Hasher:
    did = "did:key:zSeller"

    def keyed_hash(self, data: bytes) -> str:
        import hashlib

        return hashlib.sha256(b"secret" + data).hexdigest()


class NoWallets:
    """A chain without contract wallets."""

    async def is_valid_signature(self, address: str, digest: bytes, signature: bytes) -> bool:
        return False


QUOTES = Quotes(Hasher(), Assets((USDC,)), PAYEE, Terms())


def payment(version: int) -> dict[str, Any]:
    asked = QUOTES.new(OFFER, NOW_US)
    made = authorization(PAYER, PAYEE, asked.amount_atomic, valid_after=0, valid_before=NOW_S + 300)
    inner = {
        "signature": made.sign(vars(USDC)).signature.to_0x_hex(),
        "authorization": {
            "from": PAYER.address,
            "to": PAYEE,
            "value": str(made.value),
            "validAfter": "0",
            "validBefore": str(made.valid_before),
            "nonce": "0x" + made.nonce.hex(),
        },
    }
    if version == 1:
        return {"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": inner}
    return {"x402Version": 2, "accepted": asked.accepts_v2(), "payload": inner}


async def taken(sent: bytes) -> Authorization:
    """As `Sales.take` reads a payment, up to where it would be journaled."""
    read = read_payment([(b"payment-signature", sent)])
    assert read is not None
    asked = QUOTES.answered(OFFER, read, NOW_US)
    if read.scheme == "receipt":
        raise PaymentRefused("INVALID_SIGNATURE", "there is no receipt")
    check_token(read.payload, asked)
    offered = read_authorization(read.payload, asked)
    digest = authorization_digest(offered, USDC)
    if not await signed_by(cast(ChainView, NoWallets()), offered.payer, digest, offered.signature):
        raise PaymentRefused("INVALID_SIGNATURE", "another signed")
    assert not asked.expired(NOW_US)
    check_terms(offered, asked, NOW_S)
    return offered


def places(document: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    for key in document if isinstance(document, dict) else ():
        yield (*path, key)
        yield from places(document[key], *path, key)


def character(value: Any, chance: random.Random) -> Any:
    text = str(value)
    at = chance.randrange(len(text) or 1)
    return text[:at] + chance.choice("0123456789abcdefABCDEFx-. \x00é") + text[at + 1 :]


CHANGES: list[Callable[[Any, random.Random], Any]] = [
    character,
    character,
    character,
    lambda value, chance: chance.choice([None, True, False, [], {}, "", 0, -1, 1.5, 2**64, 2**256, "0x", "1e400"]),
    lambda value, chance: str(value) * chance.randrange(0, 4),
    lambda value, chance: str(value).swapcase(),
    lambda value, chance: [value],
    lambda value, chance: {"x": value},
    lambda value, chance: int(value) + chance.choice([-1, 1]) if str(value).isdigit() else value,
]


def mutated(good: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The same document, changed or with something left out in one to three places."""
    made, everywhere = copy.deepcopy(good), list(places(good))
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        *holders, last = chance.choice(everywhere)
        place: Any = made
        for holder in holders:
            place = place.get(holder) if isinstance(place, dict) else None
        if isinstance(place, dict) and last in place:
            if chance.random() < 0.1:
                del place[last]
            else:
                place[last] = chance.choice(CHANGES)(place[last], chance)
    return made


def signed_terms(offered: Authorization) -> dict[str, Any]:
    """All but the spelling of the signature, which its holder may write in several ways."""
    return {name: value for name, value in vars(offered).items() if name != "signature"}


@pytest.mark.parametrize("version", [1, 2])
async def test_no_changed_payment_is_taken_for_another(version: int, record_property: Any) -> None:
    """What differs in a signed or bound field is refused by name, and nothing is a crash."""
    chance, good = random.Random(402), payment(version)
    first = signed_terms(await taken(base64.b64encode(json.dumps(good).encode())))
    refused = 0
    for _ in range(MANY // 2):
        made = mutated(good, chance)
        try:
            offered = await taken(base64.b64encode(json.dumps(made).encode()))
        except (PaymentRefused, InvalidInput):
            refused += 1
            continue
        assert signed_terms(offered) == first
        if made.get("x402Version") == 2:
            assert made["accepted"]["extra"] == good["accepted"]["extra"]
    assert refused > MANY // 4
    record_property("figure", f"{MANY // 2} changed payments of version {version}, {refused} refused")
