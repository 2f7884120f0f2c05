"""Brings one settlement from its plan to its end: sign, broadcast, confirm, replace; and find what others broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentnode.payments.broadcaster import Broadcaster, Fees, RpcRefused
from agentnode.payments.journal import Journal, Mined
from agentnode.payments.networks import chain_id_of
from agentnode.payments.tables import Settlement, SettlementAttempt
from ledger.clock import SECOND_US, Clock, seconds
from ledger.work import Claim
from trust.chain import ChainView
from trust.chain_records import TxReceipt

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_MAX_TRIES = 5
_MAX_GAS = 400_000
"""A contract wallet's signature check is a stranger's code, and its gas is ours to pay."""
_REPLACE_AFTER_US = 20 * SECOND_US
_LEAST_WINDOW_S = 2


class Unclear(Exception):
    """The chain contradicts itself for the moment; the entry is asked about again, the others go on."""


class Sending:
    """Acts under the claim on the sending key. Raises ClaimLost, ChainUnavailable, Unclear: the entry stays open."""

    def __init__(
        self, journal: Journal, broadcaster: Broadcaster, chain: ChainView, account: LocalAccount, clock: Clock
    ) -> None:
        self._journal = journal
        self._broadcaster = broadcaster
        self._chain = chain
        self._account = account
        self._clock = clock

    @property
    def address(self) -> str:
        return str(self._account.address)

    async def advance(self, entry: Settlement, claim: Claim) -> None:
        if entry.point == "planned":
            await self._send(entry, claim)
        if entry.point in ("signed", "broadcast"):
            await self._confirm(entry, claim)

    async def _send(self, entry: Settlement, claim: Claim) -> None:
        if entry.valid_before_s < seconds(self._clock.now_us()) + _LEAST_WINDOW_S:
            return await self._conclude(entry, claim, "the authorisation's window closed before it could be sent")
        if entry.tries >= _MAX_TRIES:
            return await self._conclude(entry, claim, entry.failure)
        try:
            gas = await self._broadcaster.gas(self.address, entry.asset, entry.call_data)
        except RpcRefused as refused:
            if refused.reverted:
                return await self._conclude(entry, claim, refused.message)
            return await self._journal.give_back(entry, claim, refused.message)
        if gas > _MAX_GAS:
            return await self._conclude(entry, claim, f"the payer's wallet asks for {gas} gas, more than {_MAX_GAS}")
        attempt = self._sign(entry, await self._free_account_nonce(), gas, await self._broadcaster.fees())
        await self._journal.signed(entry, attempt, self.address, claim)
        return await self._first_broadcast(entry, attempt, claim)

    async def _free_account_nonce(self) -> int:
        """The chain's next, or the one after those that are signed here and not seen there yet.

        Asked afresh each time: a counter of our own would only ever go up, and stick after a failed send.
        """
        underway = [e.account_nonce + 1 for e in await self._journal.open() if e.account_nonce is not None]
        return max([await self._broadcaster.next_account_nonce(self.address), *underway])

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
            gas=gas,
            max_fee_per_gas=str(fees.max_fee_per_gas),
            max_priority_fee_per_gas=str(fees.max_priority_fee_per_gas),
            signed_at_us=self._clock.now_us(),
        )

    async def _first_broadcast(self, entry: Settlement, attempt: SettlementAttempt, claim: Claim) -> None:
        """A refusal gives the account nonce back; silence leaves the entry signed, to be asked about."""
        try:
            await self._broadcaster.send(attempt.raw_tx)
        except RpcRefused as refused:
            if await self._chain.transaction(attempt.tx_hash) is None:
                return await self._journal.give_back(entry, claim, refused.message)
        return await self._journal.broadcast(entry, claim)

    async def _confirm(self, entry: Settlement, claim: Claim) -> None:
        attempts = await self._journal.attempts(entry)
        for attempt in attempts:
            receipt = await self._chain.receipt(attempt.tx_hash)
            if receipt is None:
                continue
            if _moved(entry, receipt):
                mined = Mined(attempt.tx_hash, receipt.block_number, receipt.block_hash)
                return await self._journal.settled(entry, claim, mined)
            return await self._conclude(entry, claim, "the transaction was mined and reverted")
        assert attempts, "a signed entry has its transaction"
        assert entry.account_nonce is not None
        newest = attempts[0]
        if await self._broadcaster.mined_count(self.address) > entry.account_nonce:
            return await self._end_overtaken(entry, claim)
        if entry.point == "signed" and len(attempts) == 1:
            return await self._first_broadcast(entry, newest, claim)
        if self._clock.now_us() - newest.signed_at_us > _REPLACE_AFTER_US:
            return await self._replace(entry, newest, claim)
        if await self._chain.transaction(newest.tx_hash) is None:
            await self._broadcast_again(newest)
        return None

    async def _broadcast_again(self, dropped: SettlementAttempt) -> None:
        """The chain's node has forgotten it, and later account nonces wait for it."""
        try:
            await self._broadcaster.send(dropped.raw_tx)
        except RpcRefused:
            return  # it is replaced when its time is over

    async def _replace(self, entry: Settlement, stuck: SettlementAttempt, claim: Claim) -> None:
        """Another attempt under the same account nonce at a higher fee: whichever confirms, the payer pays once.

        It is sent though it may revert by now: the account nonce must be used, or all later ones wait for ever.
        """
        bumped = Fees(int(stuck.max_fee_per_gas), int(stuck.max_priority_fee_per_gas)).bumped()
        fees = bumped.at_least(await self._broadcaster.fees())
        attempt = self._sign(entry, stuck.account_nonce, stuck.gas, fees)
        await self._journal.signed(entry, attempt, self.address, claim)
        try:
            await self._broadcaster.send(attempt.raw_tx)
        except RpcRefused:
            if await self._chain.transaction(attempt.tx_hash) is None:
                await self._journal.withdraw(entry, claim, attempt)
        await self._journal.broadcast(entry, claim)

    async def _end_overtaken(self, entry: Settlement, claim: Claim) -> None:
        """The account nonce went to another transaction, so none of ours can confirm: settled elsewhere, or again."""
        mined = await self._found_on_chain(entry)
        if mined is not None:
            return await self._journal.settled(entry, claim, mined)
        return await self._journal.give_back(entry, claim, "its account nonce was taken by another transaction")

    async def _conclude(self, entry: Settlement, claim: Claim, failure: str) -> None:
        """Nothing of ours moves it any more; the chain says whether somebody else's transaction did."""
        mined = await self._found_on_chain(entry)
        if mined is not None:
            return await self._journal.settled(entry, claim, mined)
        return await self._journal.failed(entry, claim, failure)

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
