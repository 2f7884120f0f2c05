"""Mandates made, read and ended: prepare, create, get, list, revoke, suspend, resume."""

from __future__ import annotations

import secrets
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from ledger.clock import SECOND_US, Clock
from ledger.database import Database
from ledger.errors import Conflict, HoldEnded, InvalidInput, NotFound
from ledger.ids import new_id
from ledger.spend import NewBudget, Spend
from mandates import fields
from mandates.errors import MandateExpired, MandateRevoked
from mandates.register import Register, shown_use
from mandates.tables import MandateRow, MandateUseRow, PreparedMandateRow
from mandates.terms import Draft, Terms, read_draft
from trust.errors import SignatureInvalid
from trust.signatures import didpkh, eip712, secp256k1

_KEEP_PREPARED_S = 3600
_MOST_LISTED = 100
_CLOCKS_APART_S = 300
_KEEP = """
INSERT INTO prepared_mandates (tenant_id, fingerprint, authority, chain_id, nonce, valid_from_s, ends_at_us)
VALUES (:tenant_id, :fingerprint, :authority, :chain_id, :nonce, :valid_from_s, :ends_at_us)
ON CONFLICT (tenant_id, fingerprint) DO UPDATE SET authority = excluded.authority, chain_id = excluded.chain_id,
nonce = excluded.nonce, valid_from_s = excluded.valid_from_s, ends_at_us = excluded.ends_at_us
"""
_DROP_OLD = "DELETE FROM prepared_mandates WHERE ends_at_us <= :now_us"


class Authority(Protocol):
    """Whose ledger counts the mandates: the node, by its key."""

    @property
    def did(self) -> str: ...
    def sign(self, payload: dict[str, Any], typ: str) -> str: ...


class Issue:
    def __init__(
        self, database: Database, spend: Spend, clock: Clock, authority: Authority, chain_id: int, register: Register
    ) -> None:
        self._database = database
        self._spend = spend
        self._clock = clock
        self._authority = authority
        self._chain_id = chain_id
        self._register = register

    async def prepare(self, tenant_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """`{mandate, typed_data, digest}`: completed, for any wallet to sign; kept for one hour.

        Raises InvalidInput naming the field.
        """
        draft = read_draft(body)
        self._check_place(draft)
        now_us = self._clock.now_us()
        nonce = "0x" + secrets.token_hex(32)
        terms = draft.completed(self._authority.did, self._chain_id, nonce, self._register.now_s())
        kept = {
            "tenant_id": tenant_id,
            "fingerprint": draft.fingerprint(),
            "authority": terms.authority,
            "chain_id": terms.chain_id,
            "nonce": terms.nonce,
            "valid_from_s": terms.constraints.valid_from_s,
            "ends_at_us": now_us + _KEEP_PREPARED_S * SECOND_US,
        }
        async with self._database.write() as session:
            connection = await session.connection()
            await connection.execute(text(_DROP_OLD), {"now_us": now_us})
            await connection.execute(text(_KEEP), kept)
        typed_data = terms.typed_data()
        return {"mandate": terms.shown(), "typed_data": typed_data, "digest": _hex(eip712.digest(typed_data))}

    async def create(self, tenant_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """`{mandate}` of a completed mandate with its signature, or of a bare one that was prepared.

        The same mandate again is the same one. Raises InvalidInput naming the field, SignatureInvalid where its
        grantor has not signed it, MandateExpired, Conflict where another tenant has brought it first.
        """
        draft = read_draft(body)
        self._check_place(draft)
        if draft.signature is None:
            raise SignatureInvalid("the mandate is not signed: prepare it, have its grantor sign typed_data, send both")
        terms = await self._completed(tenant_id, draft)
        typed_data = terms.typed_data()
        digest = _hex(eip712.digest(typed_data))
        if (earlier := await self._with_digest(digest)) is not None:
            return await self._as_before(tenant_id, earlier)
        _check_grantor(terms.user_did, typed_data, draft.signature)
        if terms.constraints.valid_until_s <= self._register.now_s():
            raise MandateExpired("valid_until has passed; have its grantor sign a later one")
        return await self._add(tenant_id, terms, digest, draft.signature)

    async def get(self, tenant_id: str, mandate_id: str) -> dict[str, Any]:
        """`{mandate}`. Raises MandateNotFound."""
        return {"mandate": await self._register.shown(await self._register.find(mandate_id, tenant_id))}

    async def list(self, tenant_id: str) -> dict[str, Any]:
        """`{object: "list", data: [mandate]}`, newest first, at most 100."""
        newest_first = (col(MandateRow.created_at_us).desc(), col(MandateRow.id))
        mine = select(MandateRow).where(MandateRow.tenant_id == tenant_id)
        async with self._database.read() as session:
            rows = (await session.exec(mine.order_by(*newest_first).limit(_MOST_LISTED))).all()
        return {"object": "list", "data": [await self._register.shown(row) for row in rows]}

    async def uses(self, tenant_id: str, mandate_id: str) -> dict[str, Any]:
        """`{object: "list", data: [use]}` of a mandate of the tenant, newest first, at most 100."""
        mandate = await self._register.find(mandate_id, tenant_id)
        await self._register.follow_lapsed(mandate.id)
        newest_first = (col(MandateUseRow.created_at_us).desc(), col(MandateUseRow.id))
        of_it = select(MandateUseRow).where(MandateUseRow.mandate_id == mandate.id)
        async with self._database.read() as session:
            rows = (await session.exec(of_it.order_by(*newest_first).limit(_MOST_LISTED))).all()
        return {"object": "list", "data": [shown_use(row) for row in rows]}

    async def revoke(self, tenant_id: str, mandate_id: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """`{mandate}`, ended for good: what is held and not sent is released, and nothing more is signed under it.

        By a key of its tenant, or by anyone who brings its grantor's `{signature, issued_at}` (MandateRevocation).
        Raises MandateNotFound, SignatureInvalid, InvalidInput.
        """
        given = fields.members(body or {}, "revocation", {"signature", "issued_at"})
        signature = fields.optional_text(given.get("signature"), "revocation.signature", 10_000)
        issued_at_us = fields.time_us(given.get("issued_at"), "revocation.issued_at")
        mandate = await self._register.find(mandate_id, tenant_id if signature is None else None)
        issued_at_s = None if issued_at_us is None else issued_at_us // SECOND_US
        if signature is not None:
            self._check_revocation(mandate, signature, issued_at_s)
        async with self._database.write() as session:
            row = await self._register.locked(session, mandate.id)
            if row.revoked_at_us is None:
                row.revoked_at_us = self._clock.now_us()
                row.revocation_signature, row.revocation_issued_at_s = signature, issued_at_s
        await self._release_unsent(mandate.id)
        return {"mandate": await self._register.shown(row)}

    async def suspend(self, tenant_id: str, mandate_id: str) -> dict[str, Any]:
        """`{mandate}`, which authorises nothing until it is resumed. Raises MandateNotFound."""
        return await self._set_suspended(tenant_id, mandate_id, self._clock.now_us())

    async def resume(self, tenant_id: str, mandate_id: str) -> dict[str, Any]:
        """`{mandate}`, suspended no more. Raises MandateNotFound."""
        return await self._set_suspended(tenant_id, mandate_id, None)

    def _check_place(self, draft: Draft) -> None:
        if draft.authority not in (None, self._authority.did):
            raise InvalidInput("mandate.authority", f"must be this node, {self._authority.did}: another counts it")
        if draft.chain_id not in (None, self._chain_id):
            raise InvalidInput("mandate.chain_id", f"must be {self._chain_id}")

    async def _completed(self, tenant_id: str, draft: Draft) -> Terms:
        if not draft.is_complete:
            async with self._database.read() as session:
                kept = await session.get(PreparedMandateRow, (tenant_id, draft.fingerprint()))
            if kept is None or kept.ends_at_us <= self._clock.now_us():
                raise SignatureInvalid("nothing with these fields was prepared within the hour; prepare and sign again")
            return draft.completed(kept.authority, kept.chain_id, kept.nonce, kept.valid_from_s)
        return draft.completed(self._authority.did, self._chain_id, str(draft.nonce), 0)

    async def _with_digest(self, digest: str) -> MandateRow | None:
        async with self._database.read() as session:
            return (await session.exec(select(MandateRow).where(MandateRow.digest == digest))).one_or_none()

    async def _as_before(self, tenant_id: str, earlier: MandateRow) -> dict[str, Any]:
        if earlier.tenant_id != tenant_id:
            raise Conflict("another tenant has brought this mandate; have its grantor sign one with another nonce")
        return {"mandate": await self._register.shown(earlier)}

    async def _add(self, tenant_id: str, terms: Terms, digest: str, signature: str) -> dict[str, Any]:
        row = MandateRow(
            id=new_id("mnd"),
            tenant_id=tenant_id,
            digest=digest,
            kind=terms.kind,
            user_did=terms.user_did,
            agent_did=terms.agent_did,
            authority=terms.authority,
            chain_id=terms.chain_id,
            nonce=terms.nonce,
            constraints=terms.constraints.as_json(),
            signature=signature,
            created_at_us=self._clock.now_us(),
        )
        # The budget first: a mandate without one would be a limit that nothing counts.
        limit = terms.constraints.max_amount_usd_nanos
        await self._spend.open_budget(NewBudget(row.id, tenant_id, "mandate", limit))
        try:
            async with self._database.write() as session:
                session.add(row)
        except IntegrityError:
            earlier = await self._with_digest(digest)
            assert earlier is not None, "the digest is the only thing in the row that may be there before"
            return await self._as_before(tenant_id, earlier)
        return {"mandate": await self._register.shown(row)}

    def _check_revocation(self, mandate: MandateRow, signature: str, issued_at_s: int | None) -> None:
        if issued_at_s is None or issued_at_s > self._register.now_s() + _CLOCKS_APART_S:
            raise InvalidInput("revocation.issued_at", "must be given with the signature, and not lie in the future")
        message = eip712.RevocationMessage(bytes.fromhex(mandate.digest.removeprefix("0x")), issued_at_s)
        typed_data = eip712.revocation_typed_data(message, mandate.chain_id, mandate.authority)
        _check_grantor(mandate.user_did, typed_data, signature)

    async def _release_unsent(self, mandate_id: str) -> None:
        for use in await self._register.held_uses(mandate_id):
            if use.sent_at_us is None:
                try:
                    await self._spend.release(use.hold_id)
                except (HoldEnded, NotFound):
                    pass
                await self._register.follow_hold(use)

    async def _set_suspended(self, tenant_id: str, mandate_id: str, since_us: int | None) -> dict[str, Any]:
        mandate = await self._register.find(mandate_id, tenant_id)
        if mandate.revoked_at_us is not None:
            raise MandateRevoked("the mandate was revoked, which is for good")
        async with self._database.write() as session:
            row = await self._register.locked(session, mandate.id)
            row.suspended_at_us = since_us
        return {"mandate": await self._register.shown(row)}


def _check_grantor(user_did: str, typed_data: eip712.TypedData, signature: str) -> None:
    address = didpkh.decode(user_did)[1]
    try:
        signed = secp256k1.same_address(eip712.recover(typed_data, signature), address)
    except SignatureInvalid:
        signed = False
    if not signed:
        raise SignatureInvalid(
            f"it is not {address}'s signature of typed_data (65 bytes, low s); "
            "signatures of contract wallets (EIP-1271) are not taken here"
        )


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
