"""The commands in one list. Each lives in a module of its own name and imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from agentnode import __version__
from agentnode.cli import demo, devchain, hire, keys, ledger, mandate, payments, record, up, verify, wallet, wrap
from agentnode.cli.local import NodeSaid
from agentnode.cli.output import REFUSED, UNCLEAR, fail
from ledger.errors import AgentNodeError

app = typer.Typer(
    name="agentnode",
    help="An A2A agent runtime and Bazaar marketplace node: agents hire agents, paid with x402 under signed mandates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("devchain")(devchain.devchain)
app.command("hire")(hire.hire)
app.command("verify")(verify.verify)
app.command("record")(record.record)
app.command("wrap")(wrap.wrap)
app.add_typer(keys.app, name="keys")
app.add_typer(ledger.app, name="ledger")
app.add_typer(mandate.app, name="mandate")
app.add_typer(payments.app, name="payments")
app.add_typer(wallet.app, name="wallet")


def main() -> None:
    try:
        app()
    except AgentNodeError as error:
        unclear = isinstance(error, NodeSaid) and error.unclear
        try:
            fail(str(error), "--json" in sys.argv, UNCLEAR if unclear else REFUSED)
        except typer.Exit as ended:
            sys.exit(ended.exit_code)
