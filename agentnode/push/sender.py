"""Sends what is in the outbox: through the guarded client, some at once, and sees to what did not arrive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from agentnode.push.configs import PushConfig, PushConfigs
from agentnode.push.errors import PushMissing
from agentnode.push.policy import Sign, arrived, headers, unwanted, wait_s
from ledger.clock import SECOND_US, Clock
from ledger.errors import AgentNodeError
from ledger.work import Delivery, Outbox
from trust.errors import AddressRefused
from trust.web import GuardedClient

logger = logging.getLogger(__name__)

Body = Callable[[PushConfig, int], Awaitable[bytes | None]]
"""What a configuration is told of a task's event, by its number; None where the content has ended."""


class Signer(Protocol):
    @property
    def did(self) -> str: ...
    @property
    def sign(self) -> Sign: ...


class PushSender:
    """`run` sends for ever: what this process wrote at once, what others did at the next look."""

    def __init__(
        self,
        outbox: Outbox,
        configs: PushConfigs,
        web: GuardedClient,
        clock: Clock,
        signer: Signer,
        body: Body,
        look_s: float = 1.0,
    ) -> None:
        self._outbox = outbox
        self._configs = configs
        self._web = web
        self._clock = clock
        self._signer = signer
        self._body = body
        self._look_s = look_s

    async def run(self) -> None:
        while True:
            self._configs.woken.clear()
            try:
                if await self.round():
                    continue
            except Exception as error:
                logger.warning("pushing failed and goes on: %s", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._configs.woken.wait()

    async def round(self) -> int:
        """Send what is due; how many were tried."""
        due = await self._outbox.take()
        await asyncio.gather(*(self._send(delivery) for delivery in due))
        return len(due)

    async def _send(self, delivery: Delivery) -> None:
        config_id = delivery.stream.removeprefix(f"{delivery.ref}:")
        try:
            config = await self._configs.get(delivery.tenant_id, delivery.ref, config_id)
            body = await self._body(config, delivery.seq)
        except PushMissing:
            body = None
        if body is None:  # deleted, or its content has ended
            await self._outbox.dead(delivery, "CONTENT_ENDED")
            return
        at_s = self._clock.now_us() // SECOND_US
        sent = headers(config, delivery, body, at_s, self._signer.did, self._signer.sign)
        try:
            status = (await self._web.post(config.url, content=body, headers=sent)).status
        except AddressRefused as refused:
            await self._outbox.dead(delivery, refused.code)
        except AgentNodeError as error:
            await self._later(delivery, error.code)
        else:
            await self._answered(delivery, config, status)

    async def _answered(self, delivery: Delivery, config: PushConfig, status: int) -> None:
        if arrived(status):
            await self._outbox.delivered(delivery)
        elif unwanted(status):
            await self._outbox.dead(delivery, f"HTTP {status}")
            await self._configs.delete(delivery.tenant_id, config.task_id, config.id)
        else:
            await self._later(delivery, f"HTTP {status}")

    async def _later(self, delivery: Delivery, problem: str) -> None:
        after_s = wait_s(delivery.attempts)
        if after_s is None:
            await self._outbox.dead(delivery, problem)
        else:
            await self._outbox.again(delivery, problem, after_s)
