"""`@skill(price="0.002")`: a function of Python sold as a skill of the node.

    from agentnode.sell import skill

    @skill(price="0.002")
    def shout(text: str) -> str:
        \"\"\"Says it louder.\"\"\"
        return text.upper()

`agentnode up --skills shop.py` finds it there.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from agentnode.payments import Count, Pricing, Quoted, read_rate
from ledger.errors import InvalidInput

_F = TypeVar("_F", bound=Callable[..., Any])
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MARK = "agentnode_skill"


@dataclass(frozen=True)
class PricedFunction:
    """A function as a skill: it is given the text of a message, and answers with text, at once or in parts."""

    id: str
    name: str
    description: str
    price: Pricing
    function: Callable[..., Any]
    tags: Sequence[str] = ("function",)
    examples: Sequence[str] = ()

    async def answers(self, text: str) -> AsyncIterator[str]:
        """Its parts, as they are made. What is not a coroutine runs in a thread."""
        if inspect.isasyncgenfunction(self.function):
            async for part in self.function(text):
                yield str(part)
        elif inspect.iscoroutinefunction(self.function):
            yield str(await self.function(text))
        elif inspect.isgeneratorfunction(self.function):
            parts, end = self.function(text), object()
            while (part := await asyncio.to_thread(next, parts, end)) is not end:
                yield str(part)
        else:
            yield str(await asyncio.to_thread(self.function, text))


def skill(
    *,
    price: str | Callable[[str], str] = "0",
    count: Count | None = None,
    id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = ("function",),
    examples: Sequence[str] = (),
) -> Callable[[_F], _F]:
    """Marks a function of one text as a skill; the function itself stays as it is.

    `price` is in USD: `"0.002"`, `"0.002 per 1000 characters"` of the text (or words, lines, items; of a unit of one's
    own where `count` counts it), or a function of the text that says it.

    Its id is the function's name, its description the docstring. Raises InvalidInput naming what is not right.
    """

    def mark(function: _F) -> _F:
        own_id = id or function.__name__
        said = description or inspect.getdoc(function) or ""
        if not _ID.fullmatch(own_id):
            raise InvalidInput("id", f"of the skill {own_id[:64]} must be lower-case letters, digits, _ and -")
        if not said:
            raise InvalidInput("description", f"of the skill {own_id} is missing: say it in the docstring")
        shown = name or own_id.replace("_", " ").capitalize()
        sold_at = Quoted(price) if callable(price) else read_rate(price, "price", count)
        setattr(function, _MARK, PricedFunction(own_id, shown, said, sold_at, function, tags, examples))
        return function

    return mark


def skills_in(places: Iterable[str]) -> list[PricedFunction]:
    """The marked functions of files (`shop.py`) and modules (`my.shop`), in the order in which they stand there.

    Raises InvalidInput for a place that is not there.
    """
    found = []
    for place in places:
        module = _module(place)
        marked = (getattr(value, _MARK, None) for value in vars(module).values())
        found += [each for each in marked if isinstance(each, PricedFunction)]
    return found


def _module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py":
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as missing:
            raise InvalidInput("skills", f"names {place}, and there is no module {missing.name}") from missing
    if not path.is_file():
        raise InvalidInput("skills", f"names {place}, and there is no such file")
    spec = importlib.util.spec_from_file_location(f"agentnode_skills_{path.stem}", path)
    assert spec is not None and spec.loader is not None, place
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
