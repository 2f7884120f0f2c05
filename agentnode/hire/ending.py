"""How a signed payment ends: the chain says whether it was used, can still be, or never will be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from agentnode.hire.calls import Calls
from agentnode.hire.purse import Purse
from agentnode.hire.tables import HireCall, event_id
from ledger.clock import SECOND_US, Clock
from ledger.events import EventDraft
from trust.chain import ChainView
from trust.chain_records import TxReceipt, authorizations

Verdict = Literal["used", "open", "lapsed"]

_MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
_GET_CURRENT_BLOCK_TIMESTAMP = bytes.fromhex("0f28c97d")
_CALL_GAS = 100_000
_HASH = re.compile(r"0x[0-9a-f]{64}")


def verdict(used: bool, chain_time_s: int, valid_before_s: int, reorg_margin_s: int) -> Verdict:
    """What the chain's answer means: an unused authorisation has lapsed once no block that counts can take it."""
    if used:
        return "used"
    return "lapsed" if chain_time_s >= valid_before_s + reorg_margin_s else "open"


class Ending:
    """Brings a call's money to its end. Asked twice, by the buyer and by a recovery, it ends once."""

    def __init__(self, calls: Calls, purse: Purse, chain: ChainView, clock: Clock, reorg_margin_s: int) -> None:
        self._calls = calls
        self._purse = purse
        self._chain = chain
        self._clock = clock
        self._reorg_margin_s = reorg_margin_s

    async def by_chain(self, call: HireCall, tx_hash: str = "") -> Verdict:
        """Capture, release or leave a signed call, as the chain says. `tx_hash` is what the seller claims.

        Raises ChainUnavailable: then nothing is known and nothing ends.
        """
        # The time first: what is unused after it was read can no longer be used if that time is past the window.
        now_s = await chain_time_s(self._chain)
        used = await self._chain.authorization_used(call.asset, call.payer, call.nonce)
        said = verdict(used, now_s, call.valid_before_s, self._reorg_margin_s)
        if said == "used":
            return await self._gone(call, tx_hash)
        if said == "lapsed":
            await self.give_back(call, "the payment was not taken while it was valid")
        return said

    async def _gone(self, call: HireCall, claimed: str) -> Verdict:
        """The authorisation is gone: paid, or taken back on chain by its signer, which nobody else can."""
        end = await self._chain.authorization_end(call.asset, call.payer, call.nonce, call.signed_at_block)
        if end is not None and end.outcome == "canceled":
            await self.give_back(call, "the payment was cancelled on chain")
            return "lapsed"
        proved = await self._proved(call, (end.tx_hash if end else "", claimed))
        await self._purse.capture(call, self._event(call, proved))
        await self._calls.paid(call, proved)
        return "used"

    async def give_back(self, call: HireCall, failure: str) -> None:
        """Release what was held for a call of which no signature has left, or can be used."""
        await self._purse.release(call)
        await self._calls.released(call, failure)

    async def _proved(self, call: HireCall, candidates: Sequence[str]) -> str:
        """The first transaction that used the authorisation and has its transfer; empty where none has."""
        for tx_hash in filter(_HASH.fullmatch, candidates):
            receipt = await self._chain.receipt(tx_hash)
            if receipt is not None and _moved(call, receipt):
                return tx_hash
        return ""

    def _event(self, call: HireCall, tx_hash: str) -> EventDraft:
        return EventDraft(
            id=event_id(call.id),
            kind="hire",
            tenant_id=call.tenant_id,
            request_id=call.id,
            task_id=None if call.is_http else call.task_id,
            provider=call.resource_id,
            cost_usd_nanos=call.amount_usd_nanos,
            latency_ms=(self._clock.now_us() - call.created_at_us) * 1_000 // SECOND_US,
            mandate_id=call.mandate_id,
            mandate_use_id=call.use_id if call.mandate_id else None,
            payment_id=call.nonce,
            decision="allowed",
            evidence_status="present" if tx_hash else "missing",
        )


def _moved(call: HireCall, receipt: TxReceipt) -> bool:
    # An earlier hire at the same price has the same transfer: the nonce tells them apart.
    ended = [(end.outcome, end.authorizer, end.nonce) for end in authorizations(receipt, call.asset)]
    used = ("used", call.payer, call.nonce) in ended
    return used and receipt.moved(call.asset, call.payer, call.payee, int(call.amount_atomic))


async def chain_time_s(chain: ChainView) -> int:
    """The time that a call on the chain sees: the head's, or where blocks are made on demand, the moment's.

    There the head can be an hour old, and would never say that a window is past.
    """
    head = await chain.head()
    answer = await chain.call(_MULTICALL3, _GET_CURRENT_BLOCK_TIMESTAMP, _CALL_GAS)
    return max(head.timestamp_s, int.from_bytes(answer) if len(answer) == 32 else 0)
