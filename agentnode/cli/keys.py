"""`agentnode keys`: API keys of the folder's node, and the policies that its operator sets."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentnode.cli.local import TENANT, accounts, policies
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import console, plain, print_json

if TYPE_CHECKING:
    from ledger.accounts import NewKey, Policy

app = typer.Typer(help="API keys: made, listed, rotated, revoked; and policies.", no_args_is_help=True)
_DEFAULT_SCOPES = "chat,spend,meter:read,meter:write,mandates,bazaar"
Tenant = Annotated[str, typer.Option(help="Whose key it is.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, from `agentnode keys list`.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    tenant: Tenant = TENANT,
    scopes: Annotated[str, typer.Option(help="What it may do, separated by commas.")] = _DEFAULT_SCOPES,
    role: Annotated[str, typer.Option(help="In place of scopes: owner, admin, finance or viewer.")] = "",
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Make a key and print it, alone. It is shown this once."""
    from agentnode.settings import load
    from ledger.accounts import scopes_of_role

    async def make() -> NewKey:
        async with accounts(load(os.environ, data=data)) as own:
            granted = scopes_of_role(role) if role else [scope.strip() for scope in scopes.split(",")]
            await own.ensure_tenant(tenant, tenant)
            return await own.create_key(tenant, name, granted, role=role or None)

    _print_once(asyncio.run(make()), json)


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
        table.add_row(*(plain(", ".join(v) if isinstance(v, list) else str(v)) for v in row.values()))
    return console().print(table if rows else f"{tenant} has no keys; agentnode keys create NAME makes one")


@app.command()
def rotate(
    key_id: KeyId,
    overlap_s: Annotated[int, typer.Option(help="How many seconds the old secret stays good.")] = 0,
    tenant: Tenant = TENANT,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Give the key a new secret and print it, alone. It is shown this once."""
    from agentnode.settings import load

    async def change() -> NewKey:
        async with accounts(load(os.environ, data=data)) as own:
            return await own.rotate_key(tenant, key_id, overlap_s)

    _print_once(asyncio.run(change()), json)


@app.command()
def revoke(key_id: KeyId, tenant: Tenant = TENANT, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """From now on nobody is recognised by the key; by a node that runs, from the next second."""
    from agentnode.settings import load

    async def end() -> None:
        async with accounts(load(os.environ, data=data)) as own:
            await own.revoke_key(tenant, key_id)

    asyncio.run(end())
    if json:
        return print_json({"id": key_id, "tenant_id": tenant, "revoked": True})
    return console().print(f"[green]✓[/] {key_id} is revoked")


@app.command()
def policy(
    tenant: Tenant = TENANT,
    key: Annotated[str, typer.Option(help="The policy of this key in place of its tenant's.")] = "",
    set_: Annotated[str, typer.Option("--set", help="The policy to set, as JSON.")] = "",
    data: Data = DEFAULT_DATA,
) -> None:
    """What holds for a tenant or a key, as JSON. What the operator sets for a tenant may be wider than the defaults."""
    import json as reading

    from agentnode.settings import load
    from ledger.accounts import shown
    from ledger.errors import InvalidInput

    try:
        document: dict[str, Any] | None = reading.loads(set_) if set_ else None
    except ValueError as error:
        raise InvalidInput("set", f"must be JSON: {error}") from error

    async def hold() -> Policy:
        async with policies(load(os.environ, data=data)) as own:
            if document is None:
                return await (own.of_key(tenant, key) if key else own.of_tenant(tenant))
            return await (own.set_key(tenant, key, document) if key else own.frame_tenant(tenant, document))

    print_json(shown(asyncio.run(hold())))


def _print_once(key: NewKey, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "id": key.id,
                "tenant_id": key.tenant_id,
                "name": key.name,
                "scopes": sorted(key.scopes),
                "key": key.secret,
            }
        )
    else:
        typer.echo(key.secret)
