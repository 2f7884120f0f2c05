"""A payment that somebody else broadcast before it came here: its buyer has paid, and gets the work, once."""

from __future__ import annotations

from agentnode.payments.schemes.authorship import authorization_digest, signed_by
from agentnode.payments.schemes.payload import Authorization
from agentnode.payments.settling.journal import Journal, Mined
from agentnode.payments.settling.proof import mined
from ledger.clock import Clock, seconds
from ledger.money import Asset
from trust.chain import MOST_BLOCKS_OF_LOGS, ChainView
from trust.chain_records import TxReceipt


class Overtaken:
    """Finds what was mined within the life of a quote: an older transfer was not for what is asked for now."""

    def __init__(
        self, journal: Journal, chain: ChainView, asset: Asset, clock: Clock, quote_life_s: int, sender: str
    ) -> None:
        self._journal = journal
        self._chain = chain
        self._asset = asset
        self._clock = clock
        self._quote_life_s = quote_life_s
        self._sender = sender.lower()

    async def found(self, offered: Authorization) -> Mined | None:
        """Where the chain shows the transfer that `offered` signs; None where it shows none, or the journal knows it.

        What our own key sent was sold, though a restored, older database does not know it.

        The signature is checked here: of a contract wallet the library hears that the nonce is used before it asks
        whose signature it is, and who only read the nonce on chain has bought nothing. Raises ChainUnavailable.
        """
        if await self._journal.of_authorization(offered) is not None:
            return None
        if not await self.signed(offered):
            return None
        receipt = await self._used_in(offered)
        sent = await self._chain.transaction(receipt.tx_hash) if receipt is not None else None
        if sent is None or str(sent.get("from")).lower() == self._sender:
            return None
        made = receipt.authorized(offered.asset, offered.payer, offered.nonce) if receipt is not None else None
        if receipt is None or made is None:
            return None
        age_s = seconds(self._clock.now_us()) - await self._chain.block_time_s(receipt.block_number)
        pays = (made.payee, made.amount_atomic) == (offered.payee, offered.amount_atomic)
        return mined(receipt) if pays and age_s <= self._quote_life_s else None

    async def signed(self, offered: Authorization) -> bool:
        """Whether the payer signed it, where the library would say no more than that its nonce is used."""
        digest = authorization_digest(offered, self._asset)
        return await signed_by(self._chain, offered.payer, digest, offered.signature)

    async def _used_in(self, offered: Authorization) -> TxReceipt | None:
        first = max(0, (await self._chain.head()).number - MOST_BLOCKS_OF_LOGS)
        used_in = await self._chain.authorization_transaction(offered.asset, offered.payer, offered.nonce, first)
        return await self._chain.receipt(used_in) if used_in is not None else None
