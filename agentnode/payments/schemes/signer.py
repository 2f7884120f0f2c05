"""The x402 package's facilitator signer, which reads the chain as the library does and sends through our journal.

Imported when a chain is configured: it brings web3.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from typing import Any

from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer

from agentnode.payments.journal import Carriage, Journal, Plan
from agentnode.payments.submission import Authorization
from agentnode.payments.tables import Settlement
from ledger.errors import AgentNodeError
from trust.errors import ChainUnavailable

_READ_TIMEOUT_S = 10
_PLAN_TIMEOUT_S = 15
_BY_OURSELVES = Carriage()

# It warns of every payment that was refused, with what the chain said; who asked is told.
logging.getLogger("x402").setLevel(logging.ERROR)


class Planned(Exception):
    """The call is journaled; the library need not go on."""


class JournalSigner(FacilitatorWeb3Signer):
    """`write_contract` journals the call and raises Planned: the queue goes on, and no thread waits for it.

    The library keeps a nonce counter, broadcasts at once, and forgets what it sent when the wait for the receipt
    fails; none of its sending methods is used. It also takes a chain's silence for a bad signature, so what was
    raised here is kept.
    """

    entry: Settlement | None = None
    raised: AgentNodeError | None = None
    _head = 0

    def __init__(self, private_key: str, rpc_url: str, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(private_key, rpc_url)
        self._w3 = Web3(HTTPProvider(rpc_url, {"timeout": _READ_TIMEOUT_S}, exception_retry_configuration=None))
        self._journal = journal
        self._loop = loop
        self._payment_id = ""
        self._offered: Authorization | None = None
        self._carriage = Carriage()

    def for_payment(
        self, payment_id: str = "", offered: Authorization | None = None, carriage: Carriage = _BY_OURSELVES
    ) -> JournalSigner:
        """The same signer, told what the next call pays for; `raised` and `entry` are this call's own."""
        bound = copy.copy(self)
        bound._payment_id, bound._offered, bound._carriage = payment_id, offered, carriage
        return bound

    def look(self) -> None:
        """Remember the chain's head before anything is checked: no transfer that counts is in an older block."""
        self._head = self._asked(lambda: self._w3.eth.block_number)

    def read_contract(self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any) -> Any:
        return self._asked(lambda: super(JournalSigner, self).read_contract(address, abi, function_name, *args))

    def get_code(self, address: str) -> bytes:
        return bytes(self._asked(lambda: super(JournalSigner, self).get_code(address)))

    def write_contract(
        self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any, data_suffix: str | None = None
    ) -> str:
        assert self._offered is not None, "bound by for_payment"
        contract = self._w3.eth.contract(address=Web3.to_checksum_address(address), abi=abi)
        call_data = contract.encode_abi(function_name, args=list(args))
        plan = Plan(self._payment_id, self._offered, call_data, self._head, self._carriage)
        planning = asyncio.run_coroutine_threadsafe(self._journal.plan(plan), self._loop)
        try:
            self.entry = planning.result(_PLAN_TIMEOUT_S)
        except AgentNodeError as error:
            self.raised = error
        raise Planned

    def send_transaction(self, to: str, data: bytes) -> str:
        raise AssertionError("nothing leaves but through the journal")

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """What the chain answers; a revert is an answer, anything else that is raised is silence."""
        try:
            return ask()
        except ContractLogicError:
            raise
        except Exception as silence:
            self.raised = ChainUnavailable("the chain did not answer while the payment was checked; nothing was sent")
            raise self.raised from silence
