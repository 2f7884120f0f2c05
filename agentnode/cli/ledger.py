"""`agentnode ledger check`: whether movements, receipts and the chain tell of the same money."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from agentnode.cli.local import database, keystore, running
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import REFUSED, console, print_json

if TYPE_CHECKING:
    from agentnode.payments.ledger_check import Check
    from agentnode.settings import Settings

app = typer.Typer(help="The books: checked against themselves and the chain.", no_args_is_help=True)


@app.callback()
def _ledger() -> None:
    """The books: checked against themselves and the chain."""


@app.command()
def check(
    rpc: Annotated[
        str, typer.Option(envvar="AGENTNODE_RPC_URL", help="JSON-RPC of the chain; else the running node's.")
    ] = "",
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Check that all movements sum to zero, that receipts cover them, and that ledger and chain agree."""
    from agentnode.settings import load

    settings = load(os.environ, data=data)
    node = running(data) if not rpc and settings.chain == "embedded" else None
    rpc = rpc or (f"{node}/devchain" if node else "")
    checks = asyncio.run(_checks(settings, rpc))
    failed = [one for one in checks if not one.ok]
    asked = f"the chain at {rpc} was asked" if rpc else "the chain was not asked (start the node, or give --rpc URL)"
    if json:
        print_json({"ok": not failed, "chain_asked": bool(rpc), "checks": [vars(one) for one in checks]})
    else:
        out = console()
        for one in checks:
            mark = "[green]✓[/]" if one.ok else "[bold red]✗[/]"
            out.print(f"{mark} {one.claim}: {one.seen}", soft_wrap=True)
        out.print(asked, style="dim", soft_wrap=True)
    raise typer.Exit(REFUSED if failed else 0)


async def _checks(settings: Settings, rpc: str) -> list[Check]:
    from agentnode.payments.assembly import PAYEE_WALLET
    from agentnode.payments.ledger_check import check_chain, check_ledger
    from agentnode.payments.networks import usdc_of
    from agentnode.payments.settling.broadcaster import Broadcaster
    from trust.chain import ChainView

    async with database(settings) as opened:
        checks = await check_ledger(opened)
        payee = keystore(settings).address(PAYEE_WALLET)
        if rpc and payee:
            chain, broadcaster = ChainView(rpc, settings.chain_id), Broadcaster(rpc)
            try:
                await chain.check_chain_id()
                asset = await usdc_of(settings.network, rpc)
                checks += await check_chain(opened, chain, broadcaster, asset, payee)
            finally:
                await broadcaster.close()
                await chain.aclose()
    return checks
