"""The node as a facilitator: `verify`, `settle` and `supported` for our own tasks and for other sellers.

Source: x402 specification version 2, facilitator interface.
"""

from __future__ import annotations

import re
from typing import Any

from agentnode.payments.asking.requirement import PaymentRequirement
from agentnode.payments.compliance import Compliance
from agentnode.payments.errors import FacilitatorAbsent, PaymentRefused, SettlementPending
from agentnode.payments.facilitators.gas import GasBudget
from agentnode.payments.facilitators.recent import RecentPayers
from agentnode.payments.facilitators.routes import OWN, Routes
from agentnode.payments.schemes.exact import ExactScheme
from agentnode.payments.schemes.overtaken import Overtaken
from agentnode.payments.schemes.payload import Authorization, check_terms, read_authorization
from agentnode.payments.settling.journal import Beside, Carriage, Journal, Plan
from agentnode.payments.tables import UNPAID_POINTS, Settlement
from ledger.clock import Clock, seconds
from ledger.errors import InvalidInput
from ledger.money import Asset

_AMOUNT = re.compile(r"[1-9][0-9]{0,76}")


class LocalFacilitator:
    def __init__(
        self,
        scheme: ExactScheme,
        journal: Journal,
        asset: Asset,
        signer_address: str,
        own_payee: str,
        settle_timeout_s: float,
        clock: Clock,
        routes: Routes,
        compliance: Compliance,
        overtaken: Overtaken,
        recent: RecentPayers,
        gas: GasBudget | None = None,
    ) -> None:
        self._scheme = scheme
        self._journal = journal
        self._own_payee = own_payee
        self._settle_timeout_s = settle_timeout_s
        self._asset = asset
        self._signer_address = signer_address
        self._clock = clock
        self._routes = routes
        self._compliance = compliance
        self._overtaken = overtaken
        self._recent = recent
        self._gas = gas

    async def settle(self, payment_id: str, offered: Authorization, asked: PaymentRequirement) -> Settlement:
        """Check, journal, and wait for the end; what somebody else has broadcast already has ended.

        Raises what ExactScheme.plan and `end_of` do, ComplianceBlocked, ComplianceUnchecked, FacilitatorAbsent.
        """
        carriage = await self._carriage(offered, asked)
        try:
            return await self._settled(payment_id, offered, asked, carriage)
        except PaymentRefused as refused:
            found = await self._overtaken.found(offered) if refused.x402_code == "DUPLICATE_NONCE" else None
            if found is None:
                raise
            by_nobody = Carriage(compliance_version=carriage.compliance_version)
            return await self._journal.plan(Plan(payment_id, offered, "", found.block_number, by_nobody), found)

    async def _settled(
        self,
        payment_id: str,
        offered: Authorization,
        asked: PaymentRequirement,
        carriage: Carriage,
        also: Beside | None = None,
    ) -> Settlement:
        payload, requirements = _library_shapes(offered, asked.accepts_v2())
        return await self.end_of(await self._scheme.plan(payload, requirements, payment_id, offered, carriage, also))

    async def end_of(self, entry: Settlement) -> Settlement:
        """The entry once it is settled. Raises SettlementPending, and PaymentRefused where it failed."""
        ended = await self._journal.ended(entry, self._settle_timeout_s)
        if ended is None or (ended.point == "reorged" and ended.look_at_us is not None):
            raise SettlementPending(entry.payment_id)
        if ended.point == "reorged":
            raise PaymentRefused("SETTLEMENT_FAILED", "the transfer's block was undone, and its window has closed")
        if ended.point in UNPAID_POINTS:
            raise PaymentRefused("SETTLEMENT_FAILED", ended.failure)
        return ended

    async def verify_request(self, body: Any) -> dict[str, Any]:
        """`POST /facilitator/verify`: a VerifyResponse. Raises InvalidInput naming the member that is off.

        `stateAgeMs` says how long ago the chain was asked about the payer: 0 where it was for this.
        """
        asked, outer = _external(body, self._asset)
        try:
            offered = self._read(outer, asked)
            age_ms = await self._recent.age_ms(offered)
            if age_ms is None:
                payload, requirements = _library_shapes(offered, asked.accepts_v2())
                await self._recent.saw(offered, await self._scheme.verify(payload, requirements, offered))
            await self._compliance.check(offered.payer, offered.payee)
        except PaymentRefused as refused:
            return {"isValid": False, "invalidReason": refused.x402_code, "invalidMessage": refused.reason}
        return {"isValid": True, "payer": _checksummed(offered)["authorization"]["from"], "stateAgeMs": age_ms or 0}

    async def settle_request(self, body: Any) -> dict[str, Any]:
        """`POST /facilitator/settle`: a SettleResponse, the same again for the same payload."""
        asked, outer = _external(body, self._asset)
        if asked.pay_to.lower() == self._own_payee.lower():
            raise InvalidInput("paymentRequirements.payTo", "is this node's own: pay on the task that asks for it")
        failed = {"success": False, "transaction": "", "network": self._asset.network}
        try:
            offered = read_authorization(outer, asked)
            payment_id = f"x402:{offered.network}:{offered.payer}:{offered.nonce}"
            standing = await self._journal.of_authorization(offered)
            if standing is not None and standing.point not in UNPAID_POINTS:
                await self._check_same(standing, offered, asked)
                entry = await self.end_of(standing)
            else:
                # Where others come first they may refuse it, and then our own queue carries it.
                may_pay = self._gas is not None and OWN in self._routes.order(self._asset.network)
                within = await self._gas.check() if self._gas is not None and may_pay else None
                # Not `settle`: another seller may take "settled" for "not used before".
                offered = self._read(outer, asked)
                carriage = await self._carriage(offered, asked)
                entry = await self._settled(payment_id, offered, asked, carriage, within)
        except PaymentRefused as refused:
            return {**failed, "errorReason": refused.x402_code, "errorMessage": refused.reason}
        except SettlementPending as pending:
            return {**failed, "errorReason": "settlement_pending", "errorMessage": pending.message}
        return {
            "success": True,
            "transaction": entry.tx_hash,
            "network": entry.network,
            "payer": entry.payer,
            "amount": entry.amount_atomic,
        }

    def supported(self) -> dict[str, Any]:
        """`GET /facilitator/supported`: only the chain that this node is on."""
        return {
            "kinds": [{"x402Version": 2, "scheme": "exact", "network": self._asset.network}],
            "extensions": [],
            "signers": {"eip155:*": [self._signer_address]},
        }

    async def _carriage(self, offered: Authorization, asked: PaymentRequirement) -> Carriage:
        version = await self._compliance.check(offered.payer, offered.payee)
        via = next(iter(self._routes.order(self._asset.network)), None)
        if via is None:
            raise FacilitatorAbsent(f"no facilitator settles on {self._asset.network} now")
        accepted = asked.accepts_v2()
        payload = {"x402Version": 2, "accepted": accepted, "payload": _checksummed(offered)}
        body = {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": accepted}
        return Carriage(via, None if via == OWN else {"body": body, "tried": []}, version)

    async def _check_same(self, standing: Settlement, offered: Authorization, asked: PaymentRequirement) -> None:
        """The same payload again: a nonce that has settled is public, and says nothing of another payee or amount."""
        settled = (standing.payee, standing.amount_atomic)
        same = (
            settled == (offered.payee, str(offered.amount_atomic)) == (asked.pay_to.lower(), str(asked.amount_atomic))
        )
        if not same or not await self._overtaken.signed(offered):
            raise PaymentRefused("DUPLICATE_NONCE", "this authorisation pays, or paid, for something else")

    def _read(self, payload: Any, asked: PaymentRequirement) -> Authorization:
        offered = read_authorization(payload, asked)
        check_terms(offered, asked, seconds(self._clock.now_us()))
        return offered


def _library_shapes(offered: Authorization, accepted: dict[str, Any]) -> tuple[Any, Any]:
    """What was offered as the library's own types, always in version 2: its version 1 knows only chains by name."""
    from x402.schemas import PaymentPayload, PaymentRequirements

    requirements = PaymentRequirements.model_validate(accepted)
    payload = PaymentPayload(x402_version=2, payload=_checksummed(offered), accepted=requirements)
    return payload, requirements


def _checksummed(offered: Authorization) -> dict[str, Any]:
    """The payload's inner object; web3 refuses addresses in lower case."""
    from eth_utils.address import to_checksum_address

    inner = offered.payload()
    for side in ("from", "to"):
        inner["authorization"][side] = to_checksum_address(inner["authorization"][side])
    return inner


def _external(body: Any, asset: Asset) -> tuple[PaymentRequirement, Any]:
    """Another seller's requirement as one of ours: only for our chain and token, which is all we can settle."""
    if not isinstance(body, dict):
        raise InvalidInput("body", "must be a JSON object")
    asked = body.get("paymentRequirements")
    if not isinstance(asked, dict):
        raise InvalidInput("paymentRequirements", "must be an object")
    if asked.get("scheme") != "exact":
        raise InvalidInput("paymentRequirements.scheme", "must be exact; see /facilitator/supported")
    if asked.get("network") != asset.network:
        raise InvalidInput("paymentRequirements.network", f"must be {asset.network}; see /facilitator/supported")
    if str(asked.get("asset")).lower() != asset.address.lower():
        raise InvalidInput("paymentRequirements.asset", f"must be {asset.address}")
    amount = asked.get("amount")
    if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        raise InvalidInput("paymentRequirements.amount", "must be a positive decimal string of atomic units")
    pay_to = asked.get("payTo")
    if not isinstance(pay_to, str) or len(pay_to) != 42 or not pay_to.startswith("0x"):
        raise InvalidInput("paymentRequirements.payTo", "must be an address")
    requirement = PaymentRequirement(
        payment_id="",
        task_id="",
        quote_id="",
        price_usd_nanos=asset.nanos_from_atomic(int(amount)),
        amount_atomic=int(amount),
        asset=asset,
        pay_to=pay_to,
        resource="",
        description="",
        input_hash="",
        expires_at_us=0,
        max_timeout_s=0,
    )
    return requirement, body.get("paymentPayload")
