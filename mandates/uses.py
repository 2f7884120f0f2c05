"""A use of a mandate authorised: judged, then held on the mandate's budget, and vouched for with a token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError

from ledger.clock import SECOND_US, Clock, seconds
from ledger.database import Database
from ledger.errors import BudgetRefused, HoldEnded, RequestInProgress
from ledger.ids import new_id
from ledger.spend import Hold, Spend
from mandates import fields, policy
from mandates.errors import BudgetExceeded, MandateInactive, UseReplayed
from mandates.issue import Authority
from mandates.register import Register
from mandates.tables import MandateRow, MandateUseRow
from mandates.use_request import UseRequest, check_agent
from trust.signatures import eip712

_LEASE_S = 120
_SIGN_WITHIN_S = 600
_TOKEN_TYPE = "mandate-use+jwt"


@dataclass(frozen=True)
class AuthorizedUse:
    """`use` and `mandate` as answers show them; `token` is the authority's word, good until the use expires."""

    use: dict[str, Any]
    mandate: dict[str, Any]
    token: str
    hold: Hold


class Uses:
    def __init__(
        self, database: Database, spend: Spend, clock: Clock, authority: Authority, chain_id: int, register: Register
    ) -> None:
        self._database = database
        self._spend = spend
        self._clock = clock
        self._authority = authority
        self._chain_id = chain_id
        self._register = register

    async def prepare_use(self, tenant_id: str, mandate_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """`{use_id, expires_at, typed_data, digest}` for the agent to sign; nothing is held yet.

        Raises MandateNotFound, InvalidInput naming the field.
        """
        mandate = await self._register.find(mandate_id)
        request = UseRequest.parse(body)
        expires_at_s = request.expires_at_s or self._register.now_s() + _SIGN_WITHIN_S
        typed_data = request.typed_data(mandate, expires_at_s)
        return {
            "use_id": request.use_id,
            "expires_at": fields.shown_time(expires_at_s),
            "typed_data": typed_data,
            "digest": "0x" + eip712.digest(typed_data).hex(),
        }

    async def authorize(self, tenant_id: str, mandate_id: str, request: UseRequest) -> AuthorizedUse:
        """Holds the amount on the mandate for 120 s. The same request again is answered as before.

        Raises MandateNotFound, a MandateRefused for the rule that is broken, SignatureInvalid, InvalidInput, and
        UseReplayed where the use's id came with another body or has ended. A refusal leaves nothing held or spent.
        """
        mandate = await self._register.find(mandate_id)
        if mandate.chain_id != self._chain_id:
            raise MandateInactive(f"the mandate was signed for chain {mandate.chain_id}, not {self._chain_id}")
        use = await self._earlier(tenant_id, mandate_id, request)
        if use is None:
            check_agent(mandate, tenant_id, request, self._register.now_s())
            use = await self._admit(tenant_id, mandate, request)
        # From here on a process that ends leaves a row and at most a hold, and both end with the lease.
        hold = await self._reserve(use)
        use = await self._confirm(use, hold)
        shown = await self._register.shown_use(use)
        return AuthorizedUse(shown["use"], shown["mandate"], self._token(mandate, use), hold)

    async def evidence(self, tenant_id: str, mandate_id: str, use_id: str) -> dict[str, Any]:
        """What proves a use to a stranger: `{mandate: {mandate_id, digest, typed_data, signature}, use: {..., token}}`.

        Raises MandateNotFound, NotFound.
        """
        mandate = await self._register.find(mandate_id)
        use = await self._register.use(tenant_id, mandate_id, use_id)
        return {
            "mandate": {
                "mandate_id": mandate.id,
                "digest": mandate.digest,
                "typed_data": mandate.terms.typed_data(),
                "signature": mandate.signature,
            },
            "use": {
                "use_id": use.id,
                "mandate_id": mandate.id,
                "state": use.state,
                "amount_usd_nanos": str(use.captured_usd_nanos or 0),
                "token": self._token(mandate, use),
            },
        }

    async def _earlier(self, tenant_id: str, mandate_id: str, request: UseRequest) -> MandateUseRow | None:
        """The use that the same request made before."""
        async with self._database.read() as session:
            row = await session.get(MandateUseRow, (mandate_id, request.use_id))
        if row is not None and row.state == "held" and row.expires_at_us <= self._clock.now_us():
            await self._register.follow_hold(row)
            async with self._database.read() as session:
                row = await session.get(MandateUseRow, (mandate_id, request.use_id))
        return None if row is None else _same(row, tenant_id, request)

    async def _admit(self, tenant_id: str, mandate: MandateRow, request: UseRequest) -> MandateUseRow:
        """Judges the use and writes its row, so that uses and items are counted before anything is held."""
        if mandate.terms.counts_uses:
            await self._register.follow_lapsed(mandate.id)
        budget = await self._register.budget(mandate)
        now_us = self._clock.now_us()
        try:
            async with self._database.write() as session:
                row = await self._register.locked(session, mandate.id)
                twin = await session.get(MandateUseRow, (mandate.id, request.use_id))
                if twin is not None:
                    return _same(twin, tenant_id, request)
                standing = await self._register.count(session, row, budget)
                if (refused := policy.refusal(row.terms, standing, request, seconds(now_us))) is not None:
                    raise refused
                use = _row(tenant_id, mandate.id, request, now_us)
                session.add(use)
        except IntegrityError:
            raise UseReplayed(f"the id {request.use_id} names a use of another mandate; take a new one") from None
        return use

    async def _reserve(self, use: MandateUseRow) -> Hold:
        left_s = max(0, use.expires_at_us - self._clock.now_us()) / SECOND_US
        try:
            return await self._spend.reserve(
                tenant_id=use.tenant_id,
                budgets=[use.mandate_id],
                amount_usd_nanos=use.amount_usd_nanos,
                hold_id=use.hold_id,
                lease_s=left_s,
                ends_by="chain",
            )
        except BudgetRefused as refused:
            await self._register.forget(use)
            room = refused.room_usd_nanos
            raise BudgetExceeded(use.amount_usd_nanos, room, "what is left of max_amount_usd") from None

    async def _confirm(self, use: MandateUseRow, hold: Hold) -> MandateUseRow:
        """The use as it stands now that its amount is held: it may have been stopped or given up meanwhile."""
        if hold.state == "captured":
            await self._register.follow_hold(use)
            return await self._register.use(use.tenant_id, use.mandate_id, use.id)
        async with self._database.read() as session:
            mandate = await session.get(MandateRow, use.mandate_id)
            row = await session.get(MandateUseRow, (use.mandate_id, use.id))
        assert mandate is not None
        if row is not None and row.hold_id == hold.id and row.sent_at_us is not None:
            return row
        stopped = self._register.stopped(mandate)
        if stopped is None and row is not None and row.hold_id == hold.id and hold.state == "held":
            return row
        if hold.state == "held":
            await self._release(hold)
        await self._register.follow_hold(use)
        if row is None:
            raise stopped or RequestInProgress("another try of the same request gave it up; send it again")
        raise stopped or UseReplayed(f"the use {use.id} was released or has lapsed; take a new id")

    async def _release(self, hold: Hold) -> None:
        try:
            await self._spend.release(hold.id)
        except HoldEnded:
            pass

    def _token(self, mandate: MandateRow, use: MandateUseRow) -> str:
        claims = {
            "mandate": mandate.id,
            "mandate_digest": mandate.digest,
            "use": use.id,
            "amount_usd_nanos": str(use.amount_usd_nanos),
            "payee": use.payee,
            "aud": use.audience,
            "nonce": use.token_nonce,
            "exp": seconds(use.expires_at_us),
        }
        return self._authority.sign(claims, _TOKEN_TYPE)


def _row(tenant_id: str, mandate_id: str, request: UseRequest, now_us: int) -> MandateUseRow:
    return MandateUseRow(
        mandate_id=mandate_id,
        id=request.use_id,
        tenant_id=tenant_id,
        request_hash=request.fingerprint(),
        state="held",
        hold_id=new_id("hold"),
        amount_usd_nanos=request.amount_usd_nanos,
        category=request.category,
        payee=request.payee,
        audience=request.audience,
        task_id=request.task_id,
        item_id=request.item_id,
        token_nonce=secrets.token_hex(16),
        agent_signature=request.agent_signature,
        agent_signature_expires_at_s=request.expires_at_s,
        created_at_us=now_us,
        expires_at_us=now_us + _LEASE_S * SECOND_US,
    )


def _same(row: MandateUseRow, tenant_id: str, request: UseRequest) -> MandateUseRow:
    if row.tenant_id != tenant_id or row.request_hash != request.fingerprint():
        raise UseReplayed(f"the id {row.id} came before with another body; take a new one")
    return row
