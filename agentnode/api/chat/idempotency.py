"""A completion under an `Idempotency-Key` is bought once: its next tries get the first one's answer, for a day."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import orjson

from agentnode.api.idempotency import checked_key
from agentnode.payments import Reply, refused
from engine import UpstreamError
from ledger.accounts import Caller
from ledger.errors import Conflict
from ledger.work import Idempotency


class FirstReplies:
    def __init__(self, idempotency: Idempotency) -> None:
        self._idempotency = idempotency

    async def reply(self, caller: Caller, key: bytes, raw: bytes, make: Callable[[], Awaitable[Reply]]) -> Reply:
        """What `make` answers, or what it answered when the key came first. A refusal that cost nothing is not kept.

        Raises InvalidInput, IdempotencyConflict for another body, RequestInProgress, Conflict once the answer has
        ended, and what `make` raises.
        """
        scope, name = f"POST chat/completions:{caller.key_id}", checked_key(key.decode("latin-1"))
        replay = await self._idempotency.begin(scope, name, hashlib.sha256(raw).hexdigest())
        if replay is not None:
            if replay.status is None or replay.content is None:
                raise Conflict("the key's answer is kept no longer; use a new key")
            kept = orjson.loads(replay.content)
            headers = [(each.encode("latin-1"), value.encode("latin-1")) for each, value in kept["headers"]]
            return Reply(replay.status, headers, kept["content"].encode())
        try:
            made = await make()
        except UpstreamError as error:
            if not error.charged_usd_nanos:
                await self._idempotency.abandon(scope, name)
                raise
            made = refused(error)
        except BaseException:
            await self._idempotency.abandon(scope, name)
            raise
        headers = [(each.decode("latin-1"), value.decode("latin-1")) for each, value in made.headers]
        content = orjson.dumps({"headers": headers, "content": made.content.decode()})
        await self._idempotency.finish(scope, name, tenant_id=caller.tenant_id, status=made.status, content=content)
        return made
