"""`agentnode verify FILE`: check a bundle of evidence without a node, and with `--rpc` against the chain too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agentnode.cli.options import Json
from agentnode.cli.output import REFUSED, console, fail, print_json


def verify(
    file: Annotated[Path, typer.Argument(help="The bundle, as NDJSON.")],
    rpc: Annotated[str | None, typer.Option(help="JSON-RPC of the chain, to look the transactions up.")] = None,
    json: Json = False,
) -> None:
    """Check every hash, signature, transaction and amount in a bundle."""
    from agentnode.evidence import bundle as bundles
    from agentnode.evidence.onchain import confirm
    from agentnode.evidence.verify import signer_of
    from agentnode.evidence.verify import verify as verify_offline
    from ledger.errors import AgentNodeError

    try:
        bundle = bundles.read(file.read_bytes())
        checks = verify_offline(bundle, chain_asked=rpc is not None)
        if rpc is not None:
            checks += asyncio.run(confirm(bundle, rpc))
    except OSError as error:
        fail(f"INVALID_INPUT: {file} cannot be read: {error.strerror}", json)
    except AgentNodeError as error:
        fail(error.message, json)
    sealed_by = signer_of(bundle)
    failed = [check for check in checks if not check.ok]
    how = f"offline and on the chain at {rpc}" if rpc else "offline; the chain itself was not asked (--rpc URL does)"
    if json:
        print_json(
            {"ok": not failed, "sealed_by": sealed_by, "checked": how, "checks": [vars(check) for check in checks]}
        )
    else:
        out = console()
        for check in checks:
            mark = "[green]✓[/]" if check.ok else "[bold red]✗[/]"
            out.print(f"{mark} line {check.line:<3} {_plain(check.kind):<12} {check.claim}", soft_wrap=True)
            if check.seen:
                out.print(f"             {_plain(check.seen)}", soft_wrap=True, style="red")
        names = ", ".join(dict.fromkeys(f"{_plain(check.kind)} (line {check.line})" for check in failed))
        out.print(
            f"\n[bold red]does not hold:[/] {names}" if failed else f"\n[bold green]holds[/]: {len(checks)} checks"
        )
        out.print(f"sealed by {sealed_by or 'nobody: its seal does not hold'}", soft_wrap=True)
        out.print(f"checked {how}", style="dim", soft_wrap=True)
    raise typer.Exit(REFUSED if failed else 0)


def _plain(text: str) -> str:
    """A stranger's text: neither markup nor control characters of it may write our verdict."""
    from rich.markup import escape

    return escape("".join(letter if letter.isprintable() else "?" for letter in text))
