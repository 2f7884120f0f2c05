"""A wallet that signs in, with the official Python package's own code."""

from __future__ import annotations

import base64
import json
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from x402.extensions.sign_in_with_x.client import create_siwx_payload
from x402.extensions.sign_in_with_x.encode import encode_siwx_header

NAME = "sign-in-with-x"


def challenge_of(answer: Any) -> dict[str, Any]:
    """What a 402's header asks to be signed."""
    asked = json.loads(base64.b64decode(answer.headers["payment-required"]))
    challenge: dict[str, Any] = asked["extensions"][NAME]
    return challenge


async def proof(challenge: dict[str, Any], account: LocalAccount) -> str:
    """The header's value."""
    chain = challenge["supportedChains"][0]
    payload = await create_siwx_payload({**challenge["info"], **chain}, account, challenge["info"]["uri"])
    return encode_siwx_header(payload)


class OwnedWallet:
    """A contract wallet, for whose address its owner signs."""

    def __init__(self, address: str, owner_key: Any) -> None:
        self.address = address
        self.sign_message = Account.from_key(owner_key).sign_message
