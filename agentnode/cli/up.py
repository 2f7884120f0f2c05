"""`agentnode up`: settings are checked here; then this process becomes the node."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8402")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of database and keys.", show_default=".agentnode")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings and upstreams.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the work.", show_default="1")] = None,
    chain: Annotated[
        str | None, typer.Option(help="embedded, none, or the URL of a JSON-RPC.", show_default="embedded")
    ] = None,
    skills: Annotated[
        list[str] | None, typer.Option(help="A file or module with functions that are sold; may be given again.")
    ] = None,
) -> None:
    """Run a node: A2A, payments, mandates and Bazaar on one port."""
    from agentnode.settings import load

    settings = load(os.environ, config, host=host, port=port, data=data, workers=workers, chain=chain, skills=skills)
    environment = {**os.environ, "AGENTNODE_SETTINGS": settings.model_dump_json()}
    os.execve(sys.executable, [sys.executable, "-m", "agentnode"], environment)
