"""A skill that counts slowly, to be killed in the midst of it; real nodes are given this file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from agentnode.sell import skill

COUNT = 40


@skill(price="0.01")
async def count(text: str) -> AsyncGenerator[str, None]:
    """Counts."""
    for number in range(COUNT):
        yield f"{number},"
        await asyncio.sleep(0.02)
