"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", envvar="AGENTNODE_DATA", help="The node's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DEFAULT_DATA = Path(".agentnode")
