"""`agentnode mandate`: grant, watch and revoke spending authority."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentnode.cli.local import TENANT, NodeClient, NodeSaid, keystore, node
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import console, print_json
from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from mandates import Terms
    from trust.keystore import Keystore

app = typer.Typer(help="Mandates: signed authority to spend.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The mandate's id.")]
_PATH = "/api/a2a/mandates"


@app.command()
def grant(
    max_usd: Annotated[str, typer.Option("--max-usd", help="The most that may be spent under it, in all.")],
    category: Annotated[list[str] | None, typer.Option(help="What it may be spent on; again for more.")] = None,
    payee: Annotated[
        list[str] | None, typer.Option(help="Who may be paid (address, did, listing); again for more.")
    ] = None,
    days: Annotated[float, typer.Option(help="How long it is valid.")] = 30,
    max_per_use: Annotated[str | None, typer.Option(help="The most of one use, in USD.")] = None,
    grantor: Annotated[str, typer.Option(help="The wallet that signs; made where it is missing.")] = "grantor",
    agent: Annotated[str, typer.Option(help="The wallet that may spend; made where it is missing.")] = TENANT,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Sign a mandate with a wallet of this folder and hand it to the node."""
    from agentnode.settings import load

    settings = load(os.environ, data=data)
    store = keystore(settings)
    limits: dict[str, Any] = {
        "max_amount_usd": max_usd,
        "allowed_categories": category or ["agent_hire"],
        "valid_until": int(time.time() + days * 86_400),
    }
    if payee:
        limits["allowed_payees"] = payee
    if max_per_use:
        limits["max_per_use_usd"] = max_per_use
    with node(data) as client:
        made = sign_mandate(client, store, settings.chain_id, grantor, agent, limits)
    if json:
        return print_json({"mandate": made})
    console().print(f"[green]✓[/] {made['user_did']} allows {made['agent_did']} to spend {max_usd} USD", soft_wrap=True)
    return typer.echo(made["id"])


def sign_mandate(
    client: NodeClient, store: Keystore, chain_id: int, grantor: str, agent: str, limits: dict[str, Any]
) -> dict[str, Any]:
    """Prepare at the node, sign with the grantor's wallet, hand in. Wallets that are missing are made.

    Raises NodeSaid where the node refuses, and before anything is signed where it answers with another mandate.
    """
    from trust.signatures import didpkh, eip712

    grantor_did, agent_did = (
        didpkh.encode(chain_id, store.address(name) or store.create(name)) for name in (grantor, agent)
    )
    wanted = {"type": "intent", "user_did": grantor_did, "agent_did": agent_did, "constraints": limits}
    prepared = client.call("POST", f"{_PATH}/prepare", {"mandate": wanted})
    terms = _as_asked(wanted, prepared, chain_id)
    signature = eip712.sign(terms.typed_data(), store.account(grantor))
    made: dict[str, Any] = client.call("POST", _PATH, {"mandate": {**terms.shown(), "signature": signature}})
    granted: dict[str, Any] = made["mandate"]
    return granted


def _as_asked(wanted: dict[str, Any], prepared: Any, chain_id: int) -> Terms:
    """The terms to sign, built here: whoever answers at the node's address must not choose what a wallet signs."""
    from mandates import completed_as_asked
    from trust.signatures import eip712

    try:
        terms = completed_as_asked({"mandate": wanted}, {"mandate": prepared["mandate"]})
        typed_data = terms.typed_data()
        shown = prepared["typed_data"], prepared["digest"]
    except (InvalidInput, KeyError, TypeError) as other:
        raise _differ("its answer is not the mandate that was asked for") from other
    if terms.chain_id != chain_id:
        raise _differ(f"its chain is {terms.chain_id}, and the settings here say {chain_id}")
    if shown != (typed_data, "0x" + eip712.digest(typed_data).hex()):
        raise _differ("what it gave to sign is not the mandate that was asked for")
    return terms


def _differ(why: str) -> NodeSaid:
    message = f"TERMS_DIFFER: the node is not to be trusted with this: {why}; nothing was signed"
    return NodeSaid({"code": "TERMS_DIFFER", "message": message}, 502)


@app.command("list")
def listed(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """The mandates of this node's tenant."""
    with node(data) as client:
        answer = client.call("GET", _PATH)
    if json:
        return print_json(answer)
    rows = answer.get("mandates", answer.get("data", []))
    from rich.table import Table

    table = Table(box=None)
    table.add_column("id", no_wrap=True, min_width=36)
    for name in ("status", "spent", "of", "until"):
        table.add_column(name)
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
