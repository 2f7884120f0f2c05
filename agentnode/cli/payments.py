"""`agentnode payments`: what was paid to this node and through it, and how far each payment has come."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentnode.cli.local import database, node
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 200
"""Columns, where the output goes into a file or a pipe."""
_COLOURS = {"confirmed": "green", "failed": "red", "reorged": "bold red", "abandoned": "dim"}


app = typer.Typer(help="What was paid to this node and through it, and giving it back.")


@app.callback(invoke_without_command=True)
def payments(
    context: typer.Context,
    status: Annotated[str, typer.Option(help="Only these, separated by commas: confirmed, reorged, failed ...")] = "",
    payer: Annotated[str, typer.Option(help="Only this address's.")] = "",
    since: Annotated[str, typer.Option(help="Only from this time on, such as 2026-01-31T12:00:00Z.")] = "",
    limit: Annotated[int, typer.Option(help="How many, at most 200.")] = 50,
    cursor: Annotated[str, typer.Option(help="The page after the one that named it.")] = "",
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """The settlements of the folder's node, newest first."""
    if context.invoked_subcommand is not None:
        return None
    from agentnode.payments import Overview, wanted_of
    from agentnode.settings import load
    from ledger.clock import SystemClock

    asked = {"status": status, "payer": payer, "since": since, "limit": str(limit), "cursor": cursor}

    async def read() -> dict[str, Any]:
        async with database(load(os.environ, data=data)) as opened:
            return await Overview(opened, SystemClock()).page(wanted_of(asked))

    page = asyncio.run(read())
    if json:
        return print_json(page)
    out = console()
    for chain in page["chain"]:
        if chain["database_older_since"]:
            out.print(
                f"[bold red]![/] {chain['network']} shows payments of ours that this database does not know: it was "
                f"restored from an older copy (seen {chain['database_older_since']})",
                soft_wrap=True,
            )
    if not page["data"]:
        return out.print("no payments")
    if not out.is_terminal:
        out.width = _WIDE
    out.print(_table(page["data"]))
    if page["next_cursor"]:
        out.print(f"more: --cursor {page['next_cursor']}", style="dim", soft_wrap=True)
    return None


@app.command()
def refund(
    payment_id: Annotated[
        str, typer.Argument(help="The payment's id; of one that bought nothing its settlement's, stl_...")
    ],
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Give back what is left of a payment, to its payer; its receipt is burned."""
    with node(data, as_operator=True) as client:
        given = client.call("POST", f"/api/v2/payments/{payment_id}/refund", {})
    if json:
        return print_json(given)
    told = given["transaction"] or "on its way"
    console().print(f"{given['amount_usd_exact']} USD back to {given['payee']}: {told}", soft_wrap=True)
    return None


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name, justify in (("when", "left"), ("status", "left"), ("USD", "right"), ("payer", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("transaction", no_wrap=True)
    table.add_column("for", overflow="fold", max_width=80)
    for row in rows:
        status = row["status"] + ("" if row["final"] or row["status"] != "confirmed" else " …")
        table.add_row(
            row["created_at"][:16].replace("T", " "),
            Text(status, style=_COLOURS.get(row["status"], "yellow")),
            row["amount_usd_exact"] or f"{row['amount_atomic']} atomic",
            _short(row["payer"]),
            _short(row["tx_hash"] or ""),
            Text(" ".join(filter(None, [_purchase(row), row["note"]]))),
        )
    return table


def _purchase(row: dict[str, Any]) -> str:
    if row["refund_of"]:
        return f"refund of {row['refund_of']}"
    if row["task_id"]:
        void = " (receipt void)" if row["receipt_void"] else ""
        return f"{row['task_id']}{void}"
    return "another seller" if row["payment_id"] else f"{row['id']}:"


def _short(text: str) -> str:
    return f"{text[:6]}…{text[-4:]}" if len(text) > 16 else text
