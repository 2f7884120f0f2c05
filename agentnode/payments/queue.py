"""One queue per sending key, leased to one process: reserve nonce, sign, journal, broadcast, in order.

Everything it knows stands in the journal, so that starting is the same as going on after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from agentnode.payments.broadcaster import Broadcaster, Fees, RpcRefused
from agentnode.payments.journal import Journal, Mined
from agentnode.payments.networks import chain_id_of
from agentnode.payments.tables import Settlement, SettlementAttempt
from ledger.clock import SECOND_US, Clock, seconds
from ledger.errors import Unavailable
from ledger.work import Claim, ClaimLost, Claims
from trust.chain import ChainView
from trust.chain_records import TxReceipt

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_log = logging.getLogger(__name__)

_LEASE_S = 10.0
_IDLE_S = 1.0
_BUSY_S = 0.2
_MAX_TRIES = 5
_REPLACE_AFTER_US = 20 * SECOND_US
_LEAST_WINDOW_S = 2


class Unclear(Exception):
    """The chain contradicts itself for the moment; the entry is asked about again, the others go on."""


class SignerQueue:
    """Brings every open entry of the journal to its end, while this process holds the sending key's lease."""

    def __init__(
        self,
        journal: Journal,
        broadcaster: Broadcaster,
        chain: ChainView,
        account: LocalAccount,
        claims: Claims,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._broadcaster = broadcaster
        self._chain = chain
        self._account = account
        self._claims = claims
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled: lease the key, then walk the journal whenever there is something to do."""
        while True:
            try:
                claim = await self._claims.claim("signer", self._account.address, _LEASE_S)
                if claim is not None:
                    await self._lead(claim)
            except (Unavailable, ClaimLost) as reason:
                _log.warning("settlement waits: %s", reason)
            await self._pause(_IDLE_S)

    async def _lead(self, claim: Claim) -> None:
        try:
            while True:
                claim = await self._kept(claim)
                self._journal.wake.clear()
                busy = await self._walk(claim)
                await self._pause(_BUSY_S if busy else _IDLE_S)
        finally:
            await asyncio.shield(self._claims.release(claim))

    async def _kept(self, claim: Claim) -> Claim:
        """The claim, renewed once half its lease is gone. Raises ClaimLost where another process leads."""
        left_us = claim.lease_until_us - self._clock.now_us()
        return claim if left_us > _LEASE_S * SECOND_US / 2 else await self._claims.renew(claim, _LEASE_S)

    async def _pause(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._journal.wake.wait()

    async def _walk(self, claim: Claim) -> bool:
        """One round over the open entries, oldest first; true where some are still open."""
        entries = await self._journal.open()
        for entry in entries:
            claim = await self._kept(claim)
            try:
                await self._advance(entry, claim)
            except (Unavailable, ClaimLost):
                raise
            except Exception:
                _log.exception("settlement %s could not be advanced; it is tried again", entry.id)
        return any(entry.point not in ("settled", "failed") for entry in entries)

    async def _advance(self, entry: Settlement, claim: Claim) -> None:
        if entry.point == "planned":
            await self._send(entry, claim)
        if entry.point in ("signed", "broadcast"):
            await self._confirm(entry, claim)

    async def _send(self, entry: Settlement, claim: Claim) -> None:
        sender = self._account.address
        if entry.valid_before_s < seconds(self._clock.now_us()) + _LEAST_WINDOW_S:
            return await self._conclude(entry, "the authorisation's window closed before it could be sent")
        if entry.tries >= _MAX_TRIES:
            return await self._conclude(entry, entry.failure)
        try:
            gas = await self._broadcaster.gas(sender, entry.asset, entry.call_data)
        except RpcRefused as refused:
            return await self._conclude(entry, refused.message)
        attempt = self._sign(entry, await self._free_account_nonce(), gas, await self._broadcaster.fees())
        await self._journal.signed(entry, attempt, sender, claim)
        await self._broadcast(entry, attempt)
        return None

    async def _free_account_nonce(self) -> int:
        """The chain's next, or the one after those that are signed here and not seen there yet.

        Asked afresh each time: a counter of our own would only ever go up, and stick after a failed send.
        """
        underway = [e.account_nonce + 1 for e in await self._journal.open() if e.account_nonce is not None]
        return max([await self._broadcaster.next_account_nonce(self._account.address), *underway])

    def _sign(self, entry: Settlement, account_nonce: int, gas: int, fees: Fees) -> SettlementAttempt:
        from eth_utils.address import to_checksum_address

        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": chain_id_of(entry.network),
                "nonce": account_nonce,
                "to": to_checksum_address(entry.asset),
                "value": 0,
                "data": bytes.fromhex(entry.call_data.removeprefix("0x")),
                "gas": gas,
                "maxFeePerGas": fees.max_fee_per_gas,
                "maxPriorityFeePerGas": fees.max_priority_fee_per_gas,
            }
        )
        return SettlementAttempt(
            tx_hash=signed.hash.to_0x_hex(),
            settlement_id=entry.id,
            account_nonce=account_nonce,
            raw_tx=signed.raw_transaction.to_0x_hex(),
            max_fee_per_gas=str(fees.max_fee_per_gas),
            signed_at_us=self._clock.now_us(),
        )

    async def _broadcast(self, entry: Settlement, attempt: SettlementAttempt) -> None:
        """Sends; a refusal gives the account nonce back, silence leaves the entry as it is, to be asked about."""
        try:
            await self._broadcaster.send(attempt.raw_tx)
        except RpcRefused as refused:
            if await self._chain.transaction(attempt.tx_hash) is None:
                return await self._journal.give_back(entry, refused.message)
        await self._journal.broadcast(entry)
        return None

    async def _confirm(self, entry: Settlement, claim: Claim) -> None:
        attempts = await self._journal.attempts(entry)
        for attempt in attempts:
            receipt = await self._chain.receipt(attempt.tx_hash)
            if receipt is None:
                continue
            if _moved(entry, receipt):
                mined = Mined(attempt.tx_hash, receipt.block_number, receipt.block_hash)
                return await self._journal.settled(entry, mined)
            return await self._conclude(entry, "the transaction was mined and reverted")
        assert attempts and entry.account_nonce is not None
        if await self._broadcaster.mined_count(self._account.address) > entry.account_nonce:
            return await self._end_replaced(entry)
        if entry.point == "signed":
            await self._broadcast(entry, attempts[0])
        elif self._clock.now_us() - attempts[0].signed_at_us > _REPLACE_AFTER_US:
            await self._replace(entry, attempts[0], claim)
        return None

    async def _replace(self, entry: Settlement, stuck: SettlementAttempt, claim: Claim) -> None:
        """Another attempt under the same account nonce at a higher fee: whichever confirms, the payer pays once."""
        assert entry.account_nonce is not None
        offered = Fees(int(stuck.max_fee_per_gas), int(stuck.max_fee_per_gas) // 2).bumped()
        gas = await self._broadcaster.gas(self._account.address, entry.asset, entry.call_data)
        attempt = self._sign(entry, entry.account_nonce, gas, offered)
        await self._journal.signed(entry, attempt, self._account.address, claim)
        await self._broadcast(entry, attempt)

    async def _end_replaced(self, entry: Settlement) -> None:
        """The account nonce went to another transaction, so none of ours can confirm: settled elsewhere, or again."""
        mined = await self._found_on_chain(entry)
        if mined is not None:
            return await self._journal.settled(entry, mined)
        return await self._journal.give_back(entry, "its account nonce was taken by another transaction")

    async def _conclude(self, entry: Settlement, failure: str) -> None:
        """Nothing of ours moves it any more; the chain says whether somebody else's transaction did."""
        mined = await self._found_on_chain(entry)
        if mined is not None:
            return await self._journal.settled(entry, mined)
        return await self._journal.failed(entry, failure)

    async def _found_on_chain(self, entry: Settlement) -> Mined | None:
        """The transfer under this authorisation, whoever broadcast it: anybody may. None where there is none.

        Raises Unclear while the chain says that it ended, and not yet how: that is not "unpaid".
        """
        if not await self._chain.authorization_used(entry.asset, entry.payer, entry.nonce):
            return None
        end = await self._chain.authorization_end(entry.asset, entry.payer, entry.nonce, entry.planned_block)
        if end is not None and end.outcome == "canceled":
            return None
        receipt = await self._chain.receipt(end.tx_hash) if end is not None else None
        if receipt is None or not _moved(entry, receipt):
            raise Unclear(f"the authorisation of {entry.id} is used, and no log of its transfer is found")
        return Mined(receipt.tx_hash, receipt.block_number, receipt.block_hash)


def _moved(entry: Settlement, receipt: TxReceipt) -> bool:
    return receipt.moved(entry.asset, entry.payer, entry.payee, int(entry.amount_atomic))
