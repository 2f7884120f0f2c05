"""`/api/v2/credits`: the balance, buying more, and where they went (docs/accounts.md). One credit is 0.01 USD."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from agentnode.api.auth import JsonBody, Needs
from agentnode.api.idempotency import IdempotencyKey, once
from agentnode.api.top_up import TopUp
from agentnode.payments import Sale
from ledger.accounts import NANOS_PER_CREDIT, Balance, Caller, Credits, Entry, PaidIn, Purchase
from ledger.clock import rfc3339
from ledger.money import usd_exact, usd_fields, usd_nanos
from ledger.work import Idempotency


def router(credits: Credits, idempotency: Idempotency, top_up: TopUp, needs: Needs) -> APIRouter:
    routes = APIRouter(prefix="/api/v2/credits")
    spends, sees = needs("spend"), needs("spend", "meter:read")

    @routes.get("/balance")
    async def balance(caller: Caller = sees) -> dict[str, Any]:
        return _shown_balance(await credits.balance(caller.tenant_id))

    @routes.post("/purchase", response_model=None)
    async def purchase(
        request: Request, body: JsonBody, caller: Caller = spends, idempotency_key: IdempotencyKey = None
    ) -> dict[str, Any] | Response:
        paid, mode = usd_nanos(body.get("amount_usd"), "amount_usd"), body.get("mode", "")
        if mode == "paid" and paid and top_up.is_open:

            async def make(sale: Sale, money: PaidIn) -> dict[str, Any]:
                bought = await credits.purchase(caller.tenant_id, paid, mode, paid=money)
                settled = {"receipt_id": sale.receipt.id, "transaction": sale.receipt.tx_hash}
                return await _shown_purchase(credits, caller.tenant_id, bought, mode, settled)

            return await top_up.buy(request, caller.tenant_id, paid, f"Credits for {usd_exact(paid)} USD", make)
        bought = await once(
            idempotency,
            f"credits:{caller.tenant_id}",
            idempotency_key,
            body,
            lambda bind: credits.purchase(caller.tenant_id, paid, mode, bind),
            lambda ref: credits.purchased(caller.tenant_id, ref),
        )
        return await _shown_purchase(credits, caller.tenant_id, bought, "test", {})

    @routes.get("/history")
    async def history(
        limit: Annotated[int, Query(ge=1, le=200)] = 100, cursor: str | None = None, caller: Caller = sees
    ) -> dict[str, Any]:
        page = await credits.history(caller.tenant_id, limit, cursor)
        return {"object": "list", "data": [_shown(entry) for entry in page.entries], "next_cursor": page.next_cursor}

    return routes


def credit_fields(name: str, usd_nanos: int) -> dict[str, Any]:
    """`{name: number, name_exact: str}` in credits."""
    exact = Decimal(usd_nanos) / NANOS_PER_CREDIT
    return {name: int(exact) if exact == int(exact) else float(exact), f"{name}_exact": f"{exact:f}"}


async def _shown_purchase(
    credits: Credits, tenant_id: str, bought: Purchase, mode: str, settled: dict[str, str]
) -> dict[str, Any]:
    payment = {"id": bought.id, "mode": mode, "status": "completed", **settled}
    return {
        **_shown_balance(await credits.balance(tenant_id)),
        **credit_fields("purchased", bought.bought_usd_nanos),
        "payment": payment | usd_fields("amount_usd", bought.paid_usd_nanos),
    }


def _shown_balance(balance: Balance) -> dict[str, Any]:
    return {
        **credit_fields("balance", balance.usd_nanos),
        **usd_fields("balance_usd", balance.usd_nanos),
        **credit_fields("test_credits", balance.test_usd_nanos),
        **credit_fields("held", balance.held_usd_nanos),
    }


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": rfc3339(entry.at_us),
        "kind": entry.kind,
        **credit_fields("credits", entry.usd_nanos),
        **credit_fields("balance", entry.balance_usd_nanos),
        "request_id": entry.request_id,
    }
