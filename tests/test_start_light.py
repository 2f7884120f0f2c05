"""Install and start light: serving A2A and the meter loads no chain library, and `--help` loads no node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHAIN = {"eth", "eth_account", "web3", "x402", "coincurve", "eth_abi", "siwe"}
WORK = {"wordllama", "numpy", "genai_prices", "tokenizers"}
NODE = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "sqlmodel", "a2a", "pydantic", "httpx", "aiohttp"}

_HELP = """
import json, sys
sys.argv = ["agentnode", "--help"]
sys.stdout.write = lambda text: None
try:
    from agentnode.cli import main
    main()
except SystemExit:
    pass
sys.stderr.write(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

_UP = """
import asyncio, json, sys
from pathlib import Path
import agentnode.__main__
from agentnode.app import build
from agentnode.settings import load

async def serve():
    app = await build(load({}, data=Path(sys.argv[1]), chain="none"))
    async with app.router.lifespan_context(app):
        sys.stderr.write(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))

asyncio.run(serve())
"""


def test_help_loads_no_node(tmp_path: Path) -> None:
    """Who asks what there is waits for nothing that only a running node needs."""
    assert _loaded(_HELP, tmp_path) & (CHAIN | WORK | NODE) == set()


def test_a_node_without_a_chain_loads_no_chain_library(tmp_path: Path) -> None:
    """Neither does it load models, embeddings or price lists before the first work that needs them."""
    loaded = _loaded(_UP, tmp_path)
    assert loaded & (CHAIN | WORK) == set()
    assert loaded >= {"fastapi", "a2a", "sqlalchemy"}


def _loaded(program: str, folder: Path) -> set[str]:
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.strip().splitlines()[-1]))
