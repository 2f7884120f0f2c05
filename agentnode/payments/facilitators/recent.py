"""Payers whose balance was seen a moment ago: small amounts of theirs are verified without asking the chain again.

Settling always asks it. What is at stake is what a seller gives away on a verification alone, so it is bounded: by the
age of what was seen, by an amount, and by the balance less what was verified on it since.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from agentnode.payments.schemes.authorship import authorization_digest
from agentnode.payments.schemes.payload import Authorization
from agentnode.payments.settling.journal import Journal
from ledger.clock import SECOND_US, Clock
from ledger.money import Asset
from trust.chain import ChainView, DryRun
from trust.errors import SignatureInvalid
from trust.signatures import secp256k1

_MOST_PAYERS = 10_000


@dataclass
class _Seen:
    at_us: int
    left_atomic: int


class RecentPayers:
    def __init__(
        self, journal: Journal, chain: ChainView, asset: Asset, clock: Clock, most_age_s: float, most_atomic: int
    ) -> None:
        self._journal = journal
        self._chain = chain
        self._asset = asset
        self._clock = clock
        self._most_age_us = int(most_age_s * SECOND_US)
        self._most_atomic = most_atomic
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def saw(self, offered: Authorization, verified: DryRun) -> None:
        """A payment was verified on chain. Of a contract wallet only the chain knows what it signs, each time."""
        if not self._most_age_us or offered.amount_atomic > self._most_atomic or verified.code:
            return
        at_us = self._clock.now_us()
        balance = await self._chain.balance(offered.asset, offered.payer)
        self._seen[offered.payer] = _Seen(at_us, min(balance, self._most_atomic) - offered.amount_atomic)
        self._seen.move_to_end(offered.payer)
        if len(self._seen) > _MOST_PAYERS:
            self._seen.popitem(last=False)

    async def age_ms(self, offered: Authorization) -> int | None:
        """How old what was seen is, where that covers the payment; None where the chain is to be asked."""
        seen = self._seen.get(offered.payer)
        age_us = self._clock.now_us() - seen.at_us if seen else 0
        if seen is None or not 0 <= age_us <= self._most_age_us or offered.amount_atomic > seen.left_atomic:
            return None
        try:
            signer = secp256k1.recover(authorization_digest(offered, self._asset), offered.signature)
        except SignatureInvalid:
            return None
        if not secp256k1.same_address(signer, offered.payer) or await self._journal.of_authorization(offered):
            return None
        seen.left_atomic -= offered.amount_atomic
        return age_us // 1_000
