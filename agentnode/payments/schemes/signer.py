"""The x402 package's facilitator signer, which reads the chain as the library does and sends through our journal.

Imported when a chain is configured: it brings web3.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from web3 import HTTPProvider, Web3
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer
from x402.mechanisms.evm.types import TransactionReceipt

from agentnode.payments.errors import PaymentRefused, SettlementPending
from agentnode.payments.journal import Journal, Plan
from agentnode.payments.submission import Authorization
from agentnode.payments.tables import Settlement
from ledger.errors import AgentNodeError

_READ_TIMEOUT_S = 10


class JournalSigner(FacilitatorWeb3Signer):
    """`write_contract` journals the call and waits until the queue has brought it to its end.

    The library keeps a nonce counter, broadcasts at once, and forgets what it sent when the wait for the receipt
    fails; none of its sending methods is used.
    """

    entry: Settlement | None = None
    raised: AgentNodeError | None = None

    def __init__(
        self, private_key: str, rpc_url: str, journal: Journal, loop: asyncio.AbstractEventLoop, settle_timeout_s: float
    ) -> None:
        super().__init__(private_key, rpc_url)
        self._w3 = Web3(HTTPProvider(rpc_url, {"timeout": _READ_TIMEOUT_S}, exception_retry_configuration=None))
        self._journal = journal
        self._loop = loop
        self._settle_timeout_s = settle_timeout_s
        self._payment_id = ""
        self._offered: Authorization | None = None

    def for_payment(self, payment_id: str, offered: Authorization) -> JournalSigner:
        """The same signer, told what the next call pays for."""
        bound = copy.copy(self)
        bound._payment_id, bound._offered = payment_id, offered
        return bound

    def write_contract(
        self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any, data_suffix: str | None = None
    ) -> str:
        contract = self._w3.eth.contract(address=Web3.to_checksum_address(address), abi=abi)
        call_data = contract.encode_abi(function_name, args=list(args))
        head = self._w3.eth.block_number
        waiting = asyncio.run_coroutine_threadsafe(self._settled(call_data, head), self._loop)
        try:
            self.entry = waiting.result()
        except AgentNodeError as error:
            self.raised = error
            raise
        return self.entry.tx_hash

    def wait_for_transaction_receipt(self, tx_hash: str) -> TransactionReceipt:
        receipt = self._w3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]
        return TransactionReceipt(
            status=receipt["status"], block_number=receipt["blockNumber"], tx_hash=tx_hash, logs=list(receipt["logs"])
        )

    def send_transaction(self, to: str, data: bytes) -> str:
        raise AssertionError("nothing leaves but through the journal")

    async def _settled(self, call_data: str, head: int) -> Settlement:
        assert self._offered is not None, "bound by for_payment"
        entry = await self._journal.plan(Plan(self._payment_id, self._offered, call_data, head))
        ended = await self._journal.ended(entry.id, self._settle_timeout_s)
        if ended is None:
            raise SettlementPending(self._payment_id or entry.id)
        if ended.point == "failed":
            raise PaymentRefused("SETTLEMENT_FAILED", ended.failure)
        return ended
