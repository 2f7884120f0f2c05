"""The x402 package's facilitator signer, which reads what was seen of the chain and plans what it is told to send.

Imported when a chain is configured: it brings web3.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError
from x402.mechanisms.evm.multicall import encode_contract_call
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer

from ledger.errors import AgentNodeError
from trust.chain import DryRun
from trust.errors import CallReverted, ChainUnavailable

_READ_TIMEOUT_S = 10

# It warns of every payment that was refused, with what the chain said; who asked is told.
logging.getLogger("x402").setLevel(logging.ERROR)


class Planned(Exception):
    """The call is known; the library need not go on."""


class PlanningSigner(FacilitatorWeb3Signer):
    """`write_contract` keeps the call and raises Planned: the journal's queue sends it, and no thread waits for it.

    The library keeps a nonce counter, broadcasts at once, and forgets what it sent when the wait for the receipt
    fails; none of its sending methods is used. It also takes a chain's silence for a bad signature, so what was
    raised here is kept. What was not seen beforehand is asked of the chain.
    """

    planned: bytes | None = None
    raised: AgentNodeError | None = None

    def __init__(self, private_key: str, rpc_url: str) -> None:
        super().__init__(private_key, rpc_url)
        self._w3 = Web3(HTTPProvider(rpc_url, {"timeout": _READ_TIMEOUT_S}, exception_retry_configuration=None))
        self._seen: DryRun | None = None

    def after(self, seen: DryRun | None) -> PlanningSigner:
        """The same signer for one payment, whose transfer was tried."""
        bound = copy.copy(self)
        bound._seen = seen
        return bound

    def read_contract(self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any) -> Any:
        seen = self._seen
        if seen and address.lower() == seen.to and encode_contract_call(abi, function_name, *args) == seen.data:
            if isinstance(seen.gas, CallReverted):
                raise ContractLogicError(seen.gas.message)
            return None
        return self._asked(lambda: super(PlanningSigner, self).read_contract(address, abi, function_name, *args))

    def get_code(self, address: str) -> bytes:
        if self._seen and address.lower() == self._seen.payer:
            return self._seen.code
        return bytes(self._asked(lambda: super(PlanningSigner, self).get_code(address)))

    def write_contract(
        self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any, data_suffix: str | None = None
    ) -> str:
        self.planned = encode_contract_call(abi, function_name, *args)
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
