"""The `exact` scheme (EIP-3009): verified by the x402 package, settled through our journal and queue.

What it has to see of the chain is asked beforehand, in one exchange. The library is synchronous and may ask for more
(a contract wallet's word), so it runs in threads of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from agentnode.payments.errors import PaymentRefused, X402Code
from agentnode.payments.schemes.payload import Authorization
from agentnode.payments.settling.journal import Beside, Carriage, Journal, Plan
from agentnode.payments.tables import Settlement
from ledger.errors import AgentNodeError

if TYPE_CHECKING:
    from x402.schemas import PaymentPayload, PaymentRequirements

    from agentnode.payments.schemes.signer import PlanningSigner
    from trust.chain import ChainView, DryRun

_AT_ONCE = 16
"""Threads, and dry runs that the chain's node is asked for: a crowd waits here, not in the node past the time-out."""

_CODES: tuple[tuple[str, X402Code, str], ...] = (
    ("insufficient_balance", "INSUFFICIENT_FUNDS", "the payer's balance is too small"),
    ("nonce_already_used", "DUPLICATE_NONCE", "the authorisation was used or cancelled on chain"),
    ("valid_before", "EXPIRED_PAYMENT", "authorization.validBefore is past, or too near to be mined in time"),
    ("valid_after", "EXPIRED_PAYMENT", "authorization.validAfter lies in the future"),
    ("authorization_value", "INVALID_AMOUNT", "authorization.value is not the amount asked"),
    ("network", "NETWORK_MISMATCH", "the payload is for another network"),
    ("signature", "INVALID_SIGNATURE", "the signature is not the payer's over these terms"),
    ("recipient_mismatch", "INVALID_SIGNATURE", "authorization.to is not the payee asked"),
    ("smart_wallet", "INVALID_SIGNATURE", "the payer's wallet contract is not deployed"),
)


class ExactScheme:
    """x402's facilitator scheme over a signer that plans what it is told to send."""

    def __init__(self, signer: PlanningSigner, chain: ChainView, journal: Journal) -> None:
        self._signer = signer
        self._chain = chain
        self._journal = journal
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="x402")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def verify(
        self, payload: PaymentPayload, requirements: PaymentRequirements, offered: Authorization
    ) -> DryRun:
        """What the chain says of it. Raises PaymentRefused or, where it is not known, ChainUnavailable."""
        from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme

        seen = await self._tried(offered)
        signer = self._signer.after(seen)
        answer = await self._in_thread(signer, ExactEvmScheme(signer).verify, payload, requirements)
        if not answer.is_valid:
            raise refusal(str(answer.invalid_reason))
        return seen

    async def plan(
        self,
        payload: PaymentPayload,
        requirements: PaymentRequirements,
        payment_id: str,
        offered: Authorization,
        carriage: Carriage,
        also: Beside | None = None,
    ) -> Settlement:
        """The journal's entry, planned; the queue, or another facilitator, brings it to its end.

        Verified with a simulation first: what would not settle is refused before the journal knows of it.
        Raises PaymentRefused, QuoteExpired, ChainUnavailable.
        """
        from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme, ExactEvmSchemeConfig

        seen = await self._tried(offered)
        signer = self._signer.after(seen)
        scheme = ExactEvmScheme(signer, ExactEvmSchemeConfig(simulate_in_settle=True))
        answer = await self._in_thread(signer, scheme.settle, payload, requirements)
        if signer.planned is None:
            raise refusal(str(answer.error_reason))
        gas = seen.gas if isinstance(seen.gas, int) and signer.planned == seen.data else None
        call_data = "0x" + signer.planned.hex()
        return await self._journal.plan(Plan(payment_id, offered, call_data, seen.head, carriage, gas), also=also)

    async def _tried(self, offered: Authorization) -> DryRun:
        call = transfer_call(offered)
        async with self._turns:
            return await self._chain.dry_run(self._signer.address, offered.asset, call, offered.payer)

    async def _in_thread(self, signer: PlanningSigner, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        except AgentNodeError:
            raise
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise PaymentRefused("SETTLEMENT_FAILED", "the payload is malformed") from error
        if signer.raised is not None:
            raise signer.raised
        return answer


def transfer_call(offered: Authorization) -> bytes:
    """The token's call that uses the authorisation, as a plain signature's parts or a contract wallet's bytes."""
    from x402.mechanisms.evm import constants
    from x402.mechanisms.evm.multicall import encode_contract_call

    signature = bytes.fromhex(offered.signature[2:])
    abi, signed = constants.TRANSFER_WITH_AUTHORIZATION_BYTES_ABI, list[Any]([signature])
    if len(signature) == 65:
        abi, v = constants.TRANSFER_WITH_AUTHORIZATION_VRS_ABI, signature[64]
        signed = [v + 27 if v in (0, 1) else v, signature[:32], signature[32:64]]
    return encode_contract_call(
        abi,
        constants.FUNCTION_TRANSFER_WITH_AUTHORIZATION,
        offered.payer,
        offered.payee,
        offered.amount_atomic,
        offered.valid_after_s,
        offered.valid_before_s,
        bytes.fromhex(offered.nonce[2:]),
        *signed,
    )


def refusal(reason: str) -> PaymentRefused:
    """The extension's error code for one of the library's reasons."""
    for part, code, sentence in _CODES:
        if part in reason:
            return PaymentRefused(code, sentence)
    return PaymentRefused("SETTLEMENT_FAILED", f"the payment could not be settled ({reason})")
