"""`agentnode wrap`: an existing HTTP API is sold, each request for a price, by a node that runs in front of it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from agentnode.cli.output import console
from ledger.errors import InvalidInput


def wrap(
    url: Annotated[str, typer.Argument(help="The API's base URL. What comes behind it here goes behind it there.")],
    price: Annotated[str, typer.Option(help="USD for each request, such as 0.002.")],
    name: Annotated[str | None, typer.Option(help="Its name in the path here.", show_default="from the URL")] = None,
    header: Annotated[
        list[str] | None, typer.Option(help='"Name: value", put into each request; may be given again.')
    ] = None,
    header_env: Annotated[
        list[str] | None, typer.Option(help="Name=VARIABLE: the same, with a value from the environment.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8402")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of database and keys.", show_default=".agentnode")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    chain: Annotated[
        str | None, typer.Option(help="embedded, or the URL of a JSON-RPC.", show_default="embedded")
    ] = None,
) -> None:
    """Sell an HTTP API: a node in front of it asks for a price with HTTP 402, is paid with x402, and passes on."""
    from agentnode.sell import wrap_from_table
    from agentnode.settings import load

    table: dict[str, Any] = {
        "name": name or _name_of(url),
        "url": url,
        "price_usd": price,
        "headers": _pairs("header", header or (), ":"),
        "headers_env": _pairs("header_env", header_env or (), "="),
    }
    sold = wrap_from_table(table, os.environ)
    settings = load(os.environ, config, host=host, port=port, data=data, chain=chain, wraps=[table])
    at = settings.url if settings.port or settings.origin else "the URL below"
    console(stderr=True).print(f"{url} is sold at {at}{sold.path} for {price} USD a request", soft_wrap=True)
    environment = {**os.environ, "AGENTNODE_SETTINGS": settings.model_dump_json()}
    os.execve(sys.executable, [sys.executable, "-m", "agentnode"], environment)


def _name_of(url: str) -> str:
    """From the host: `https://api.example.com/v1` is `api-example-com`."""
    host = re.sub(r"^[a-z]+://|[/:?#].*$", "", url.lower())
    return re.sub(r"[^a-z0-9]+", "-", host).strip("-")[:40]


def _pairs(option: str, given: Sequence[str], by: str) -> dict[str, str]:
    pairs = {}
    for each in given:
        name, found, value = each.partition(by)
        if not found:
            raise InvalidInput(option, f"must be of the form Name{by}value")
        pairs[name.strip()] = value.strip()
    return pairs
