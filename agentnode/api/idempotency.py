"""A request that puts money somewhere runs once under an `Idempotency-Key`; its next tries are told what it made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import Header

from ledger.accounts import Bind
from ledger.errors import Conflict, InvalidInput
from ledger.work import Idempotency

IdempotencyKey: TypeAlias = Annotated[str | None, Header()]
Made = TypeVar("Made")

_VISIBLE = re.compile(r"[\x21-\x7e]{1,200}")


async def once(
    idempotency: Idempotency,
    scope: str,
    key: str | None,
    body: dict[str, Any],
    make: Callable[[Bind | None], Awaitable[Made]],
    made: Callable[[str], Awaitable[Made]],
) -> Made:
    """What `make` makes, binding its id in its own transaction; under a key that came before, what `made` finds.

    Raises IdempotencyConflict for another body under the same key, RequestInProgress.
    """
    if key is None:
        return await make(None)
    key = checked_key(key)
    replay = await idempotency.begin(scope, key, hash_of(body))
    if replay is not None:
        if replay.ref is None:
            raise Conflict("the same request came to nothing; use a new key")
        return await made(replay.ref)
    try:
        return await make(lambda session, ref: idempotency.bind(session, scope, key, ref))
    except BaseException:
        await idempotency.abandon(scope, key)
        raise


def hash_of(body: dict[str, Any]) -> str:
    """The same for the same body, in whichever order it names its fields."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def checked_key(key: str) -> str:
    """Raises InvalidInput."""
    if not _VISIBLE.fullmatch(key):
        raise InvalidInput("Idempotency-Key", "must be 1 to 200 visible characters")
    return key
