"""Heavy libraries are loaded when they are first used, not when the engine is imported or built."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("wordllama", "tokenizers", "numpy", "genai_prices", "aiohttp", "httpx", "web3")


def loaded_after(program: str) -> list[str]:
    asked = f"{program}\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return said.stdout.split()


def test_the_engine_starts_light() -> None:
    """Built with keys for every known upstream, it has loaded neither a price list nor a client nor a model."""
    program = """
from engine import Catalog, Engine, Providers, with_known
environ = {"OPENAI_API_KEY": "k", "OPENROUTER_API_KEY": "k"}
upstreams = with_known([], environ)
Catalog.load(upstreams), Providers.from_environment(environ, upstreams)
"""
    assert loaded_after(program) == []
