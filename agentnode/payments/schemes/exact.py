"""The `exact` scheme (EIP-3009): verified by the x402 package, settled through our journal and queue.

The library is synchronous and would block the loop, so it runs in threads of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from agentnode.payments.errors import PaymentRefused, X402Code
from agentnode.payments.journal import Carriage
from agentnode.payments.submission import Authorization
from agentnode.payments.tables import Settlement
from ledger.errors import AgentNodeError

if TYPE_CHECKING:
    from x402.schemas import PaymentPayload, PaymentRequirements

    from agentnode.payments.schemes.signer import JournalSigner

_THREADS = 16

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
    """x402's facilitator scheme over a signer that journals what it is told to send."""

    def __init__(self, signer: JournalSigner) -> None:
        self._signer = signer
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="x402")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def verify(self, payload: PaymentPayload, requirements: PaymentRequirements) -> str:
        """The payer's address. Raises PaymentRefused or, where it is not known, ChainUnavailable."""
        from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme

        signer = self._signer.for_payment()
        answer = await self._in_thread(signer, ExactEvmScheme(signer).verify, payload, requirements)
        if not answer.is_valid:
            raise refusal(str(answer.invalid_reason))
        return str(answer.payer)

    async def plan(
        self,
        payload: PaymentPayload,
        requirements: PaymentRequirements,
        payment_id: str,
        offered: Authorization,
        carriage: Carriage,
    ) -> Settlement:
        """The journal's entry, planned; the queue, or another facilitator, brings it to its end.

        Verified with a simulation first: what would not settle is refused before the journal knows of it.
        Raises PaymentRefused, QuoteExpired, ChainUnavailable.
        """
        from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme, ExactEvmSchemeConfig

        signer = self._signer.for_payment(payment_id, offered, carriage)
        scheme = ExactEvmScheme(signer, ExactEvmSchemeConfig(simulate_in_settle=True))
        answer = await self._in_thread(signer, scheme.settle, payload, requirements)
        if signer.entry is None:
            raise refusal(str(answer.error_reason))
        return signer.entry

    async def _in_thread(self, signer: JournalSigner, call: Callable[..., Any], *arguments: Any) -> Any:
        def called() -> Any:
            signer.look()
            return call(*arguments)

        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, called)
        except AgentNodeError:
            raise
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise PaymentRefused("SETTLEMENT_FAILED", "the payload is malformed") from error
        if signer.raised is not None:
            raise signer.raised
        return answer


def refusal(reason: str) -> PaymentRefused:
    """The extension's error code for one of the library's reasons."""
    for part, code, sentence in _CODES:
        if part in reason:
            return PaymentRefused(code, sentence)
    return PaymentRefused("SETTLEMENT_FAILED", f"the payment could not be settled ({reason})")
