"""`agentnode mandate`: grant, watch and revoke spending authority."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any

import typer

from agentnode.cli.local import TENANT, keystore, node
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import console, print_json

app = typer.Typer(help="Mandates: signed authority to spend.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The mandate's id.")]
_PATH = "/api/a2a/mandates"


@app.command()
def grant(
    max_usd: Annotated[str, typer.Option("--max-usd", help="The most that may be spent under it, in all.")],
    category: Annotated[list[str] | None, typer.Option(help="What it may be spent on; again for more.")] = None,
    payee: Annotated[list[str] | None, typer.Option(help="Who may be paid: address, did or listing; again for more.")] = None,
    days: Annotated[float, typer.Option(help="How long it is valid.")] = 30,
    max_per_use: Annotated[str | None, typer.Option(help="The most of one use, in USD.")] = None,
    grantor: Annotated[str, typer.Option(help="The wallet that signs; made where it is missing.")] = "grantor",
    agent: Annotated[str, typer.Option(help="The wallet that may spend; made where it is missing.")] = TENANT,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Sign a mandate with a wallet of this folder and hand it to the node."""
    from agentnode.settings import load
    from trust.signatures import didpkh, eip712

    settings = load(os.environ, data=data)
    store = keystore(settings)
    addresses = {name: store.address(name) or store.create(name) for name in (grantor, agent)}
    constraints: dict[str, Any] = {
        "max_amount_usd": max_usd,
        "allowed_categories": category or ["agent_hire"],
        "valid_until": int(time.time() + days * 86_400),
    }
    if payee:
        constraints["allowed_payees"] = payee
    if max_per_use:
        constraints["max_per_use_usd"] = max_per_use
    mandate = {
        "type": "intent",
        "user_did": didpkh.encode(settings.chain_id, addresses[grantor]),
        "agent_did": didpkh.encode(settings.chain_id, addresses[agent]),
        "constraints": constraints,
    }
    with node(data) as client:
        prepared = client.call("POST", f"{_PATH}/prepare", {"mandate": mandate})
        signature = eip712.sign(prepared["typed_data"], store.account(grantor))
        made = client.call("POST", _PATH, {"mandate": {**prepared["mandate"], "signature": signature}})["mandate"]
    if json:
        return print_json({"mandate": made})
    console().print(f"[green]✓[/] {addresses[grantor]} allows {addresses[agent]} to spend {max_usd} USD")
    return typer.echo(made["id"])


@app.command("list")
def listed(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """The mandates of this node's tenant."""
    with node(data) as client:
        answer = client.call("GET", _PATH)
    if json:
        return print_json(answer)
    rows = answer.get("mandates", answer.get("data", []))
    from rich.table import Table

    table = Table("id", "status", "spent", "of", "until", box=None)
    for row in rows:
        limits = row["constraints"]
        spent, most = row["amount_spent_usd_exact"], limits.get("max_amount_usd_exact", limits["max_amount_usd"])
        table.add_row(row["id"], row["status"], str(spent), str(most), str(limits["valid_until"]))
    return console().print(table if rows else "no mandates yet; agentnode mandate grant --max-usd 1 signs one")


@app.command()
def show(mandate_id: Id, data: Data = DEFAULT_DATA) -> None:
    """One mandate and its uses, as JSON."""
    with node(data) as client:
        mandate = client.call("GET", f"{_PATH}/{mandate_id}")
        uses = client.call("GET", f"{_PATH}/{mandate_id}/uses")
    print_json({**mandate, **uses})


@app.command()
def revoke(mandate_id: Id, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """End a mandate: nothing more is signed under it."""
    with node(data) as client:
        answer = client.call("POST", f"{_PATH}/{mandate_id}/revoke", {})
    print_json(answer) if json else console().print(f"[green]✓[/] {mandate_id} is revoked")
