"""The small world that mandates' tests stand in: a ledger, a node key, a grantor, an agent, and a clock set by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from ledger.clock import seconds
from ledger.database import Database
from ledger.spend import Hold, Spend
from mandates import Mandates, UseRequest
from tests.ledger.parts import SetClock
from trust.keys import NodeKeys
from trust.signatures import didpkh, eip712

CHAIN_ID = 31337
GRANTOR: LocalAccount = Account.from_key("0x" + "11" * 32)
AGENT: LocalAccount = Account.from_key("0x" + "22" * 32)
STRANGER: LocalAccount = Account.from_key("0x" + "33" * 32)
PAYEE = "0x00000000000000000000000000000000000000aA"
DAY_S = 86_400


def did(account: LocalAccount) -> str:
    return didpkh.encode(CHAIN_ID, account.address)


class InterruptedSpend(Spend):
    """A spend path before whose next reservation something else happens: another process was faster."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def reserve(self, **asked: Any) -> Hold:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            await happens()
        return await super().reserve(**asked)


@dataclass
class World:
    database: Database
    spend: InterruptedSpend
    clock: SetClock
    keys: NodeKeys
    mandates: Mandates

    def body(self, kind: str = "intent", **constraints: Any) -> dict[str, Any]:
        """A bare mandate of 10 USD for a day, with these constraints in place of its own."""
        limits: dict[str, Any] = {
            "max_amount_usd": 10,
            "allowed_categories": [],
            "valid_until": seconds(self.clock.now_us()) + DAY_S,
        }
        given = {"type": kind, "user_did": did(GRANTOR), "agent_did": did(AGENT), "constraints": limits | constraints}
        return {"mandate": given}

    async def grant(self, kind: str = "intent", tenant: str = "acme", **constraints: Any) -> dict[str, Any]:
        """A mandate as `create` answers it, signed by the grantor."""
        prepared = await self.mandates.prepare(tenant, self.body(kind, **constraints))
        signature = eip712.sign(prepared["typed_data"], GRANTOR)
        created = await self.mandates.create(tenant, {"mandate": prepared["mandate"] | {"signature": signature}})
        mandate: dict[str, Any] = created["mandate"]
        return mandate

    async def signed_use(
        self, mandate_id: str, tenant: str = "other", account: LocalAccount = AGENT, **use: Any
    ) -> UseRequest:
        """A use that an agent has signed, as `use/prepare` has it signed."""
        prepared = await self.mandates.prepare_use(tenant, mandate_id, use)
        given = {"use_id": prepared["use_id"], "expires_at": prepared["expires_at"]}
        return UseRequest.parse(use | given | {"agent_signature": eip712.sign(prepared["typed_data"], account)})

    async def money(self, mandate_id: str) -> tuple[int, int]:
        """(spent, held) of the mandate's budget, in nanos."""
        budget = await self.spend.budget(mandate_id)
        assert budget is not None
        return budget.spent_usd_nanos, budget.held_usd_nanos


def use(amount_usd: Any = 1, **members: Any) -> UseRequest:
    return UseRequest.parse({"amount_usd": amount_usd, **members})


async def restarted(world: World) -> World:
    """The same database under a process that has just started."""
    spend = InterruptedSpend(world.database, world.clock, "restarted")
    await spend.start()
    mandates = Mandates(world.database, spend, world.clock, world.keys, CHAIN_ID)
    return World(world.database, spend, world.clock, world.keys, mandates)
