"""Gathers what a node knows of one purchase, as buyer or as seller, into the lines of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from agentnode.evidence.bundle import Signer, seal
from agentnode.evidence.transfers import raw_from_rpc
from agentnode.payments import Journal, Receipt, TaskGate
from agentnode.payments.tables import Settlement
from ledger.clock import Clock
from ledger.errors import NotFound
from ledger.events import EconomicEvent, Events
from ledger.money import Asset
from mandates import Mandates
from trust.chain import ChainView
from trust.signatures import jws

Lines = list[dict[str, Any]]

_EVENT_MEMBERS = ("id", "kind", "at_us", "task_id", "payment_id", "receipt_id", "mandate_id", "mandate_use_id")


class Hire(Protocol):
    """A paid call, as the buyer's journal has it."""

    id: str
    mandate_id: str | None
    use_id: str
    amount_usd_nanos: int
    payer: str
    payee: str
    amount_atomic: str
    nonce: str
    tx_hash: str
    receipt: str
    signed_offer: str
    signed_delivery: str
    created_at_us: int

    @property
    def event_id(self) -> str: ...


class Hires(Protocol):
    async def get(self, tenant_id: str, call_id: str) -> Hire:
        """Raises CallUnknown, also for another tenant's."""
        ...


class Evidence:
    """Bundles of this node, sealed with its key."""

    def __init__(
        self,
        clock: Clock,
        signer: Signer,
        chain: ChainView,
        assets: Sequence[Asset],
        calls: Hires,
        mandates: Mandates,
        gate: TaskGate,
        journal: Journal,
        events: Events,
    ) -> None:
        self._clock = clock
        self._signer = signer
        self._chain = chain
        self._asset = assets[0]
        self._assets = {asset.address.lower(): asset for asset in assets}
        self._calls = calls
        self._mandates = mandates
        self._gate = gate
        self._journal = journal
        self._events = events

    async def of_call(self, tenant_id: str, call_id: str) -> bytes:
        """The buyer's side of a hire: mandate, use, payment, transaction, the seller's signed words, our event.

        Raises CallUnknown, and NotFound while it is not paid.
        """
        call = await self._calls.get(tenant_id, call_id)
        if not call.tx_hash:
            raise NotFound(f"{call_id} has no payment on the chain yet; ask again when it is paid")
        lines: Lines = []
        if call.mandate_id:
            lines += await self._authority(tenant_id, call.mandate_id, call.use_id)
        paid = (call.payer, call.payee, call.amount_atomic, call.tx_hash)
        lines.append(_payment(self._asset, "exact", call.nonce, call.amount_usd_nanos, *paid))
        lines.append(await self._transaction(call.tx_hash))
        if call.receipt:
            lines.append({"kind": "receipt", "issuer": jws.claimed_signer(call.receipt), "jws": call.receipt})
        lines += [*_signed("offer", call.signed_offer), *_signed("delivery", call.signed_delivery)]
        lines.append(event_line(await self._events.get(call.event_id)))
        return seal(lines, self._signer, self._clock.now_us(), call.created_at_us)

    async def of_task(self, task_id: str) -> bytes:
        """The seller's side of a paid task: payment, transaction, receipt, and the events that carry its revenue.

        Raises NotFound where the task was not paid, or not by a transfer of its own.
        """
        receipts = await self._gate.receipts(task_id)
        if not receipts:
            raise NotFound(f"no payment was received for {task_id}")
        lines: Lines = []
        for receipt in receipts:
            entry = await self._journal.of_payment(receipt.payment_id)
            if entry is None:
                raise NotFound(f"{task_id} was paid by what {receipt.id} had left, and no transfer is its own")
            lines += await self._received(receipt, entry)
        lines += [event_line(event) for event in await self._events.of_task(task_id) if event.revenue_usd_nanos]
        return seal(lines, self._signer, self._clock.now_us(), receipts[0].settled_at_us)

    async def _authority(self, tenant_id: str, mandate_id: str, use_id: str) -> Lines:
        signed = await self._mandates.evidence(tenant_id, mandate_id, use_id)
        return [{"kind": "mandate", **signed["mandate"]}, {"kind": "mandate_use", **signed["use"]}]

    async def _received(self, receipt: Receipt, entry: Settlement) -> Lines:
        """A transfer of the payer's own may be of more than the price; the claim that it signed says what it is for."""
        asset, asked = self._assets[receipt.asset], await self._gate.requirement(receipt.task_id)
        assert asked is not None, "what has a receipt had a price"
        price = asset.nanos_from_atomic(asked.amount_atomic)
        paid = (receipt.payer, receipt.payee, str(receipt.amount_atomic), receipt.tx_hash)
        claim = (entry.handed or {}).get("claim")
        return [
            _payment(asset, entry.scheme, receipt.payment_id, price, *paid),
            await self._transaction(receipt.tx_hash),
            *([{"kind": "claim", "tx_hash": receipt.tx_hash, **claim}] if claim else []),
            {"kind": "receipt", "issuer": jws.claimed_signer(receipt.jws), "jws": receipt.jws},
        ]

    async def _transaction(self, tx_hash: str) -> dict[str, Any]:
        sent, receipt = await self._chain.transaction(tx_hash), await self._chain.receipt(tx_hash)
        if sent is None or receipt is None:
            raise NotFound(f"the chain does not know {tx_hash} (any more)")
        try:
            raw = raw_from_rpc(sent)
        except ValueError as problem:
            raise NotFound(f"{tx_hash} cannot be put in a bundle: {problem}") from problem
        return {
            "kind": "transaction",
            "network": self._asset.network,
            "hash": tx_hash,
            "raw": raw,
            "receipt": receipt.as_rpc(),
        }


def _payment(
    asset: Asset,
    scheme: str,
    payment_id: str,
    price_usd_nanos: int,
    payer: str,
    payee: str,
    amount_atomic: str,
    tx_hash: str,
) -> dict[str, Any]:
    return {
        "kind": "payment",
        "scheme": scheme,
        "payment_id": payment_id,
        "price_usd_nanos": str(price_usd_nanos),
        "network": asset.network,
        "asset": asset.address.lower(),
        "name": asset.name,
        "version": asset.version,
        "decimals": asset.decimals,
        "usd_nanos_per_token": str(asset.usd_nanos_per_token),
        "payer": payer,
        "payee": payee,
        "amount_atomic": amount_atomic,
        "tx_hash": tx_hash,
    }


def _signed(kind: str, kept: str) -> Lines:
    """What the seller signed by x402's `offer-receipt`, as the buyer kept it."""
    if not kept:
        return []
    token = str(orjson.loads(kept)["signature"])
    return [{"kind": kind, "issuer": jws.claimed_signer(token), "jws": token}]


def event_line(event: EconomicEvent) -> dict[str, Any]:
    """What the event says of the purchase, and no more: what the work cost a seller is no buyer's business.

    Amounts are decimal strings: JSON readers lose digits past 2**53.
    """
    amount = "cost_usd_nanos" if event.kind == "hire" else "revenue_usd_nanos"
    said = {name: getattr(event, name) for name in _EVENT_MEMBERS}
    return {"kind": "event", "event": {**said, amount: str(getattr(event, amount))}}
