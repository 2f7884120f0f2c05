"""`agentnode wallet`: EVM keys of the folder, encrypted at rest."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from agentnode.cli.local import TENANT, NodeSaid, keystore
from agentnode.cli.options import DEFAULT_DATA, Data, Json
from agentnode.cli.output import console, print_json

app = typer.Typer(help="Wallets: made, shown, funded on the embedded chain.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The wallet's name; a tenant pays from the wallet of its own name.")]
Rpc = Annotated[str | None, typer.Option(envvar="AGENTNODE_RPC_URL", help="JSON-RPC of the chain.")]


@app.command()
def create(name: Name = TENANT, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """Make a wallet and print its address."""
    from agentnode.settings import load

    address = keystore(load(os.environ, data=data)).create(name)
    print_json({"name": name, "address": address}) if json else typer.echo(address)


@app.command("import")
def imported(
    name: Name,
    key_env: Annotated[str, typer.Option(help="The environment variable that has the private key.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Take over a private key from an environment variable."""
    from agentnode.settings import load

    secret = os.environ.get(key_env)
    if not secret:
        message = f"INVALID_INPUT: {key_env} is not set in the environment"
        raise NodeSaid({"code": "INVALID_INPUT", "message": message}, 400)
    typer.echo(keystore(load(os.environ, data=data)).put(name, secret))


@app.command("list")
def listed(data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """The wallets' names and addresses."""
    from agentnode.settings import load

    store = keystore(load(os.environ, data=data))
    rows = [{"name": name, "address": store.address(name)} for name in store.names()]
    if json:
        return print_json({"object": "list", "data": rows})
    from rich.table import Table

    table = Table("name", "address", box=None)
    for row in rows:
        table.add_row(str(row["name"]), str(row["address"]))
    return console().print(table if rows else "no wallets yet; agentnode wallet create NAME makes one")


@app.command()
def balance(name: Name = TENANT, rpc: Rpc = None, data: Data = DEFAULT_DATA, json: Json = False) -> None:
    """A wallet's USDC on the configured chain."""
    from agentnode.payments.networks import usdc_of
    from agentnode.settings import load
    from ledger.money import usd_fields
    from trust.chain import ChainView

    settings = load(os.environ, data=data)
    address = _address(name, keystore(settings).address(name))

    async def read() -> int:
        chain = ChainView(_rpc(rpc), settings.chain_id)
        asset = await usdc_of(settings.network, _rpc(rpc))
        return asset.nanos_from_atomic(await chain.balance(asset.address, address))

    nanos = asyncio.run(read())
    if json:
        return print_json({"name": name, "address": address, **usd_fields("balance_usd", nanos)})
    return typer.echo(f"{usd_fields('balance_usd', nanos)['balance_usd_exact']} USDC at {address}")


@app.command()
def fund(
    usd: Annotated[str, typer.Argument(help="How many USDC to mint.")],
    name: Annotated[str, typer.Option(help="The wallet.")] = TENANT,
    rpc: Rpc = None,
    data: Data = DEFAULT_DATA,
    json: Json = False,
) -> None:
    """Mint test USDC into a wallet, on the embedded chain only."""
    import httpx

    from agentnode.settings import load

    address = _address(name, keystore(load(os.environ, data=data)).address(name))
    answer = httpx.post(f"{_rpc(rpc).rstrip('/')}/faucet", json={"address": address, "usdc": usd}, timeout=30)
    if answer.is_error:
        raise NodeSaid(answer.json()["error"], answer.status_code)
    print_json(answer.json()) if json else console().print(f"[green]✓[/] {usd} USDC minted to {address}")


def _rpc(url: str | None) -> str:
    if not url:
        message = "INVALID_INPUT: say which chain: --rpc URL (a node with the embedded chain has it at URL/devchain)"
        raise NodeSaid({"code": "INVALID_INPUT", "message": message}, 400)
    return url


def _address(name: str, address: str | None) -> str:
    if address is None:
        message = f"WALLET_UNKNOWN: there is no wallet {name}; agentnode wallet create {name} makes it"
        raise NodeSaid({"code": "WALLET_UNKNOWN", "message": message}, 404)
    return address
