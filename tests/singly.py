"""What a stream hands on together, one by one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TypeVar

_T = TypeVar("_T")


async def singly(arrivals: AsyncGenerator[list[_T], None]) -> AsyncGenerator[_T, None]:
    async with contextlib.aclosing(arrivals):
        async for together in arrivals:
            for one in together:
                yield one
