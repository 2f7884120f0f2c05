"""`agentnode keys`: API keys of the folder's node."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from agentnode.cli.local import TENANT, accounts
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import console, print_json

app = typer.Typer(help="API keys: made, listed, revoked.", no_args_is_help=True)
_DEFAULT_SCOPES = "chat,spend,meter:read,meter:write,mandates,bazaar"
Tenant = Annotated[str, typer.Option(help="Whose key it is.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    tenant: Tenant = TENANT,
    scopes: Annotated[str, typer.Option(help="What it may do, separated by commas.")] = _DEFAULT_SCOPES,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Make a key and print it, alone. It is shown this once."""
    from agentnode.settings import load
    from ledger.accounts import NewKey

    async def make() -> NewKey:
        async with accounts(load(os.environ, data=data)) as own:
            await own.ensure_tenant(tenant, tenant)
            return await own.create_key(tenant, name, [scope.strip() for scope in scopes.split(",")])

    made = asyncio.run(make())
    if json:
        print_json(
            {"id": made.id, "tenant_id": tenant, "name": name, "scopes": sorted(made.scopes), "key": made.secret}
        )
    else:
        typer.echo(made.secret)


@app.command("list")
def listed(tenant: Tenant = TENANT, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """The tenant's keys, without their secrets."""
    from agentnode.settings import load
    from ledger.accounts import KeySummary
    from ledger.clock import rfc3339

    async def read() -> list[KeySummary]:
        async with accounts(load(os.environ, data=data)) as own:
            return await own.keys(tenant)

    rows = [
        {
            "id": key.id,
            "name": key.name,
            "key": f"{key.shown}…",
            "scopes": sorted(key.scopes),
            "created_at": rfc3339(key.created_at_us),
            "revoked": key.revoked_at_us is not None,
        }
        for key in asyncio.run(read())
    ]
    if json:
        return print_json({"object": "list", "data": rows})
    from rich.table import Table

    table = Table(box=None)
    table.add_column("id", no_wrap=True, min_width=36)
    for name in ("name", "key", "scopes", "made", "revoked"):
        table.add_column(name)
    for row in rows:
        table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()))
    return console().print(table if rows else f"{tenant} has no keys; agentnode keys create NAME makes one")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, from `agentnode keys list`.")],
    tenant: Tenant = TENANT,
    data: Data = DEFAULT_DATA,
) -> None:
    """From now on nobody is recognised by the key."""
    from agentnode.settings import load

    async def end() -> None:
        async with accounts(load(os.environ, data=data)) as own:
            await own.revoke_key(tenant, key_id)

    asyncio.run(end())
    console().print(f"[green]✓[/] {key_id} is revoked")
