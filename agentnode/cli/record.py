"""`agentnode record MODEL...`: ask each model one small thing and keep how its upstream counted it, for the tests."""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from agentnode.cli.output import console


def record(
    models: Annotated[list[str], typer.Argument(help="Models by any of their names; their upstream's key is needed.")],
    folder: Annotated[Path, typer.Option(help="Where the examples go, one file a model.")] = Path("usage_examples"),
    config: Annotated[Path | None, typer.Option(help="The node's settings file, for its upstreams.")] = None,
) -> None:
    """Send one small request to each model and write its usage, without content, as an example. It is billed."""
    folder.mkdir(parents=True, exist_ok=True)
    for example in asyncio.run(_recorded(models, config)):
        name = re.sub(r"[^a-z0-9.]+", "-", f"{example['provider']}-{example['model']}".lower())
        file = folder / f"{name}-{example['date']}.json"
        file.write_text(jsonlib.dumps(example, indent=1) + "\n")
        console().print(f"[green]✓[/] {file}", soft_wrap=True)


async def _recorded(wanted: list[str], config: Path | None) -> list[dict[str, Any]]:
    from agentnode.settings import load
    from engine import Catalog, Models, Providers, upstream_from_table, with_known
    from engine import record as recorded
    from ledger.clock import SystemClock

    settings, clock = load(os.environ, config), SystemClock()
    upstreams = with_known([upstream_from_table(table) for table in settings.upstreams], os.environ)
    providers = Providers.from_environment(os.environ, upstreams)
    models = Models(Catalog.load(upstreams, settings.own_prices), providers, upstreams, clock)
    try:
        return [await recorded(name, models, providers, clock) for name in wanted]
    finally:
        await providers.close()
