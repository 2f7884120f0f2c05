"""`agentnode devchain`: the embedded chain alone, for wallets and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentnode.cli.options import DEFAULT_DATA, Data


def devchain(
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8545,
    data: Data = DEFAULT_DATA,
    chain_id: Annotated[int, typer.Option(help="For clients that know no other chain.")] = 31337,
) -> None:
    """Run the embedded EVM chain alone: JSON-RPC at /, and /info and /faucet."""
    from agentnode.devchain.__main__ import main

    folder: Path = data
    raise typer.Exit(main(["--port", str(port), "--data", str(folder), "--chain-id", str(chain_id)]))
