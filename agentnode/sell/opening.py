"""What it takes to be paid, for an application that is not a node: ledger, journal, keys, and the chain's queue."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from agentnode.ground import open_ground
from agentnode.payments import HttpGate, PaymentsAbsent
from agentnode.payments.assembly import open_payments
from agentnode.settings import Settings
from agentnode.ticking import scheduled


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[HttpGate]:
    """A toll gate over the folder of `settings.data`, which may be a node's: the two share its books.

    Raises PaymentsAbsent where `chain` is not the URL of a JSON-RPC, ChainMismatch, ChainUnavailable.
    """
    if not settings.rpc_url:
        raise PaymentsAbsent
    ground = await open_ground(settings)
    async with ground.running():
        paid = await open_payments(ground)
        async with paid.running():
            with scheduled((*ground.ticks, *paid.ticks)):
                yield paid.http_gate
