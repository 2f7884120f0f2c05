"""Signing in with a wallet: who proves it is the payer of what it paid for. A proof is good for one request."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import orjson
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete

from agentnode.payments.asking.quotes import Hasher
from agentnode.payments.errors import SignInNeeded, SignInRefused
from agentnode.payments.schemes.authorship import signed_by
from agentnode.payments.tables import UsedSignIn
from agentnode.payments.taking.headers import Header
from agentnode.payments.taking.sign_in_challenge import Challenge, Challenges, Proof
from ledger.clock import Clock
from ledger.database import Database
from ledger.errors import InvalidInput
from trust.chain import ChainView

HEADER = "SIGN-IN-WITH-X"
LONGEST = 32_768
"""Bytes of the header: a contract wallet's signature may have 4,096, in hex, in JSON, in base64."""
_ANOTHER_AT_US = 60_000_000


class SignIns:
    def __init__(self, database: Database, clock: Clock, hasher: Hasher, chain: ChainView, network: str) -> None:
        self._database, self._clock, self._chain = database, clock, chain
        self._challenges = Challenges(hasher, network)

    def declared(self, uri: str) -> dict[str, Any]:
        """`{"sign-in-with-x": {info, supportedChains, schema}}`, a new challenge for what is at `uri`."""
        return self._challenges.new(uri, self._clock.now_us()).declared()

    async def payer(self, headers: Iterable[Header], uri: str) -> str | None:
        """The address, in lower case, that the request's header proves; None where there is none.

        `uri` is what the challenge was for: the operator's origin and a path. The proof is used by this.
        Raises InvalidInput for a header that cannot be read, SignInRefused (with a new challenge) where it proves
        nothing, ChainUnavailable where only the chain could tell.
        """
        sent = [value for name, value in headers if name == b"sign-in-with-x"]
        if not sent:
            return None
        if len(sent) > 1:
            raise InvalidInput(HEADER, "must be sent once")
        proof = Proof.read(_document(sent[0]), HEADER)
        try:
            return await self._proved(proof, uri)
        except SignInRefused as refusal:
            refusal.extensions = self.declared(uri)
            raise

    async def needed(self, headers: Iterable[Header], uri: str) -> str:
        """As `payer`. Raises SignInNeeded, with a new challenge, where nothing proves one."""
        try:
            payer = await self.payer(headers, uri)
        except SignInRefused as refusal:
            raise SignInNeeded(uri, refusal.extensions, refusal) from refusal
        if payer is None:
            raise SignInNeeded(uri, self.declared(uri))
        return payer

    async def forget(self) -> int:
        """Drops the nonces whose challenges have ended; how many."""
        ended = delete(UsedSignIn).where(col(UsedSignIn.ends_at_us) < self._clock.now_us() - _ANOTHER_AT_US)
        async with self._database.write() as session:
            return int((await session.exec(ended)).rowcount)

    async def _proved(self, proof: Proof, uri: str) -> str:
        asked = self._challenges.answered(proof, uri, self._clock.now_us())
        address = proof["address"]
        if not await signed_by(self._chain, address, signed_digest(asked.message(address)), proof["signature"]):
            raise SignInRefused("invalid_siwx_signature", f"the signature is not {address}'s over this challenge")
        await self._use(asked)
        return address.lower()

    async def _use(self, asked: Challenge) -> None:
        try:
            async with self._database.write() as session:
                session.add(UsedSignIn(nonce=asked.nonce, ends_at_us=asked.ends_at_us))
        except IntegrityError:
            raise SignInRefused("invalid_siwx_nonce", "this proof was used before; sign a new challenge") from None


def signed_digest(message: str) -> bytes:
    """What `personal_sign` signs of a text (EIP-191)."""
    from eth_utils.crypto import keccak

    raw = message.encode()
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(raw)).encode() + raw)


def _document(value: bytes) -> dict[str, Any]:
    if len(value) > LONGEST:
        raise InvalidInput(HEADER, f"must have at most {LONGEST} bytes")
    try:
        read = orjson.loads(base64.b64decode(value.strip(), validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        read = None
    if not isinstance(read, dict):
        raise InvalidInput(HEADER, "must be base64 of a JSON object")
    return read
