"""The door to mandates: one object, built with what it needs, whose methods are the actions."""

from __future__ import annotations

from typing import Any

from ledger.clock import Clock
from ledger.database import Database
from ledger.spend import Spend
from mandates.endings import Endings
from mandates.issue import Authority, Issue
from mandates.register import Register
from mandates.use_request import UseRequest
from mandates.uses import Uses


class Mandates:
    """Signed permission to spend, counted here. Bodies in and out are those of docs/mandates.md."""

    def __init__(self, database: Database, spend: Spend, clock: Clock, authority: Authority, chain_id: int) -> None:
        register = Register(database, spend, clock)
        issue = Issue(database, spend, clock, authority, chain_id, register)
        uses = Uses(database, spend, clock, authority, chain_id, register)
        endings = Endings(database, spend, clock, register)
        self.prepare = issue.prepare
        self.create = issue.create
        self.get = issue.get
        self.list = issue.list
        self.uses = issue.uses
        self.revoke = issue.revoke
        self.suspend = issue.suspend
        self.resume = issue.resume
        self.prepare_use = uses.prepare_use
        self.authorize = uses.authorize
        self.evidence = uses.evidence
        self.capture = endings.capture
        self.release = endings.release
        self.lapse = endings.lapse
        self.mark_sent = endings.mark_sent

    async def use(self, tenant_id: str, mandate_id: str, request: UseRequest) -> dict[str, Any]:
        """`{use, mandate}`: authorises and captures in one. Raises as `authorize` and `capture`."""
        await self.authorize(tenant_id, mandate_id, request)
        return await self.capture(tenant_id, mandate_id, request.use_id, request.amount_usd_nanos)
