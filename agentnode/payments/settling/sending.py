"""Brings settlements from their plan to their end: sign, broadcast, confirm, replace. One round at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentnode.payments.settling.broadcaster import Broadcaster, Fees, RpcRefused
from agentnode.payments.settling.journal import Journal
from agentnode.payments.settling.proof import Proof, mined, pays
from agentnode.payments.tables import OPEN_POINTS, Settlement, SettlementAttempt
from ledger.clock import SECOND_US, Clock, seconds
from ledger.work import Claim
from trust.chain import ChainView

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_MAX_TRIES = 5
_MAX_GAS = 400_000
"""A contract wallet's signature check is a stranger's code, and its gas is ours to pay."""
_GAS_MARGIN_PERCENT = 130
_TRIED_IS_FRESH_US = 5 * SECOND_US
_REPLACE_AFTER_US = 20 * SECOND_US
_MOST_BUMPED = 10
"""A replacement bids at most so many times what a transaction pays now."""
_LEAST_WINDOW_S = 2


@dataclass(frozen=True)
class Doomed:
    """An entry that nothing of ours will move."""

    entry: Settlement
    failure: str


class Sending:
    """Acts under the claim on the sending key. Raises ClaimLost, ChainUnavailable, Unclear: entries stay open."""

    def __init__(
        self,
        journal: Journal,
        broadcaster: Broadcaster,
        chain: ChainView,
        proof: Proof,
        account: LocalAccount,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._broadcaster = broadcaster
        self._chain = chain
        self._proof = proof
        self._account = account
        self._clock = clock

    @property
    def address(self) -> str:
        return str(self._account.address)

    @property
    def network(self) -> str:
        return self._chain.network

    @property
    def name(self) -> str:
        """Whose turn it is under one lease: each chain counts the key's transactions by itself."""
        return f"{self.network}:{self.address}"

    async def send(self, planned: Sequence[Settlement], claim: Claim) -> list[Doomed]:
        """Sign and journal all that can be sent, then broadcast in order; those that cannot, to be concluded."""
        doomed, gas = await self._estimated(planned, claim)
        ready = [entry for entry in planned if entry.id in gas]
        if ready:
            free, fees = await self._terms(len(ready))
            made = await asyncio.to_thread(
                lambda: [(e, self._sign(e, nonce, gas[e.id], fees)) for e, nonce in zip(ready, free, strict=True)]
            )
            await self._journal.signed(made, self.address, claim)
            await self._first_broadcasts(made, claim)
        return doomed

    async def confirm_mined(
        self, underway: Sequence[Settlement], claim: Claim
    ) -> tuple[dict[str, list[SettlementAttempt]], list[Doomed]]:
        """Settle those of which an attempt is mined; the attempts of all, by entry; and those that were reverted."""
        attempts = await self._journal.attempts_of(underway)
        hashes = [attempt.tx_hash for entry in underway for attempt in attempts[entry.id]]
        receipts = dict(zip(hashes, await self._broadcaster.receipts(hashes), strict=True))
        found, reverted = [], []
        for entry in underway:
            ends = [receipt for attempt in attempts[entry.id] if (receipt := receipts[attempt.tx_hash]) is not None]
            if ends and pays(ends[0], entry):
                found.append((entry, mined(ends[0])))
            elif ends:
                reverted.append(Doomed(entry, "the transaction was mined and reverted"))
        if found:
            await self._journal.confirmed(found, claim)
        return attempts, reverted

    async def follow(
        self, entry: Settlement, attempts: Sequence[SettlementAttempt], mined_count: int, claim: Claim
    ) -> None:
        """One that is signed and not mined: sent, sent again, replaced, or overtaken."""
        assert attempts, "a signed entry has its transaction"
        assert entry.account_nonce is not None
        newest = attempts[0]
        if mined_count > entry.account_nonce:
            return await self._end_overtaken(entry, claim)
        if entry.point == "signed" and len(attempts) == 1:
            return await self._first_broadcasts([(entry, newest)], claim)
        if self._clock.now_us() - newest.signed_at_us > _REPLACE_AFTER_US:
            return await self._replace(entry, newest, claim)
        if await self._chain.transaction(newest.tx_hash) is None:
            await self._broadcast_again(newest)
        return None

    async def mined_count(self) -> int:
        return await self._broadcaster.mined_count(self.address)

    async def conclude(self, doomed: Doomed, claim: Claim) -> None:
        """Nothing of ours moves it any more; the chain says whether somebody else's transaction did, or still may."""
        entry = doomed.entry
        found = await self._proof.transfer(entry)
        if found is not None:
            return await self._journal.confirmed([(entry, found)], claim)
        if await self._proof.closed(entry):
            return await self._journal.abandoned(entry, claim, doomed.failure)
        return await self._journal.failed(entry, claim, doomed.failure)

    async def _estimated(self, entries: Sequence[Settlement], claim: Claim) -> tuple[list[Doomed], dict[str, int]]:
        """Those that will not be sent, and what gas each of the others needs; what the node refused waits its turn."""
        closes_s = seconds(self._clock.now_us()) + _LEAST_WINDOW_S
        late = [e for e in entries if e.valid_before_s < closes_s]
        tired = [e for e in entries if e not in late and e.tries >= _MAX_TRIES]
        asked = [e for e in entries if e not in late and e not in tired]
        doomed = [Doomed(e, "the authorisation's window closed before it could be sent") for e in late]
        doomed += [Doomed(e, e.failure) for e in tired]
        needs: dict[str, int | RpcRefused] = {e.id: e.gas for e in asked if e.gas is not None and self._just_tried(e)}
        stale = [e for e in asked if e.id not in needs]
        told = await self._broadcaster.gas(self.address, _calls(stale))
        needs |= {entry.id: need for entry, need in zip(stale, told, strict=True)}
        gas: dict[str, int] = {}
        for entry in asked:
            need = needs[entry.id]
            if isinstance(need, RpcRefused) and need.reverted:
                doomed.append(Doomed(entry, need.message))
            elif isinstance(need, RpcRefused):
                await self._journal.give_back([entry], claim, need.message)
            elif need * _GAS_MARGIN_PERCENT > _MAX_GAS * 100:
                doomed.append(Doomed(entry, f"the payer's wallet asks for {need} gas, more than {_MAX_GAS}"))
            else:
                gas[entry.id] = need * _GAS_MARGIN_PERCENT // 100
        return doomed, gas

    def _just_tried(self, entry: Settlement) -> bool:
        return entry.tries == 0 and self._clock.now_us() - entry.seq < _TRIED_IS_FRESH_US

    async def _terms(self, count: int) -> tuple[list[int], Fees]:
        """From the chain's next on, those that nothing signed here has: a gap is filled first.

        Asked afresh each time: a counter of our own would only ever go up, and stick after a failed send.
        """
        following, fees = await self._broadcaster.terms(self.address)
        taken = await self._journal.account_nonces(self.network)
        free: list[int] = []
        while len(free) < count:
            free += [following] if following not in taken else []
            following += 1
        return free, fees

    def _sign(self, entry: Settlement, account_nonce: int, gas: int, fees: Fees) -> SettlementAttempt:
        from eth_utils.address import to_checksum_address

        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": self._chain.chain_id,
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

    async def _first_broadcasts(self, made: Sequence[tuple[Settlement, SettlementAttempt]], claim: Claim) -> None:
        """In order. A refusal gives its account nonce back, and those of the ones behind it, which are not sent.

        Silence leaves the entry signed, to be asked about, and those behind it.
        """
        sent: list[Settlement] = []
        try:
            for position, (entry, attempt) in enumerate(made):
                try:
                    await self._broadcaster.send(attempt.raw_tx)
                except RpcRefused as refused:
                    if await self._chain.transaction(attempt.tx_hash) is None:
                        await self._journal.give_back([entry], claim, refused.message)
                        behind = [unsent for unsent, _ in made[position + 1 :]]
                        if behind:
                            await self._journal.give_back(behind, claim)
                        return
                sent.append(entry)
        finally:
            if sent:
                await self._journal.broadcast(sent, claim)

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
        _, fees = await self._broadcaster.terms(self.address)
        if bumped.max_fee_per_gas > _MOST_BUMPED * fees.max_fee_per_gas:
            # It is not held up by its fee, and what it bids is paid when the chain goes on.
            return await self._broadcast_again(stuck)
        attempt = self._sign(entry, stuck.account_nonce, stuck.gas, bumped.at_least(fees))
        await self._journal.signed([(entry, attempt)], self.address, claim)
        try:
            await self._broadcaster.send(attempt.raw_tx)
        except RpcRefused:
            if await self._chain.transaction(attempt.tx_hash) is None:
                await self._journal.withdraw(entry, claim, attempt)
        return await self._journal.broadcast([entry], claim)

    async def _end_overtaken(self, entry: Settlement, claim: Claim) -> None:
        """The account nonce went to another transaction, so none of ours can confirm: settled elsewhere, or again."""
        found = await self._proof.transfer(entry)
        if found is not None:
            return await self._journal.confirmed([(entry, found)], claim)
        return await self._journal.give_back([entry], claim, "its account nonce was taken by another transaction")


def still_open(entries: Sequence[Settlement]) -> list[Settlement]:
    return [entry for entry in entries if entry.point in OPEN_POINTS]


def _calls(entries: Sequence[Settlement]) -> list[tuple[str, str]]:
    return [(entry.asset, entry.call_data) for entry in entries]
