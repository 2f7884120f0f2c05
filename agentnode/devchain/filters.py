"""Log queries and the filters that clients poll: what is new since they last asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import params as read
from .chain import DevelopmentChain
from .envelope import REFUSED, RpcError
from .reading import block_by_hash, block_number
from .records import LogQuery
from .shapes import Json

# The oldest is forgotten first: a client that polls a forgotten one is told so and makes a new one.
MOST_FILTERS = 1_000


def get_logs(chain: DevelopmentChain, criteria: Any) -> list[Json]:
    """eth_getLogs: by blockHash, or fromBlock..toBlock (each latest where absent)."""
    if not isinstance(criteria, dict):
        raise read.invalid("filter", "is not an object")
    if criteria.get("blockHash") is not None:
        block = block_by_hash(chain, read.data(criteria["blockHash"], "blockHash", 32))
        if block is None:
            raise RpcError(REFUSED, "unknown block")
        first = last = int(block["number"], 16)
    else:
        first = block_number(chain, criteria.get("fromBlock") or "latest")
        last = block_number(chain, criteria.get("toBlock") or "latest")
    return chain.records.logs(_query(criteria, first, last))


def _query(criteria: Json, first: int, last: int) -> LogQuery:
    return LogQuery(first, last, read.addresses(criteria.get("address")), read.topics(criteria.get("topics")))


@dataclass
class _Filter:
    """`seen` is the last block whose news were told; `criteria` is None for a filter of blocks."""

    seen: int
    criteria: Json | None


class Filters:
    def __init__(self, chain: DevelopmentChain) -> None:
        self._chain = chain
        self._filters: dict[int, _Filter] = {}
        self._next = 1

    def new(self, criteria: Json | None) -> int:
        seen: int = self._chain.head.block_number
        if criteria is not None:
            get_logs(self._chain, criteria)
            if criteria.get("fromBlock") is not None:
                seen = block_number(self._chain, criteria["fromBlock"]) - 1
        identity = self._next
        self._next += 1
        self._filters[identity] = _Filter(seen, criteria)
        if len(self._filters) > MOST_FILTERS:
            del self._filters[next(iter(self._filters))]
        return identity

    def remove(self, identity: int) -> bool:
        return self._filters.pop(identity, None) is not None

    def changes(self, identity: int) -> list[Any]:
        """News since the last call: logs, or the hashes of blocks."""
        watched = self._get(identity)
        head: int = self._chain.head.block_number
        # After a revert the head may lie below what was seen: what comes then is news.
        first = min(watched.seen, head) + 1
        watched.seen = head
        if watched.criteria is None:
            return [block["hash"] for block in self._chain.records.blocks_between(first, head)]
        last: int = head
        if watched.criteria.get("toBlock") is not None:
            last = min(head, block_number(self._chain, watched.criteria["toBlock"]))
        return self._chain.records.logs(_query(watched.criteria, first, last))

    def logs(self, identity: int) -> list[Json]:
        """All that the filter's criteria match, told before or not."""
        watched = self._get(identity)
        if watched.criteria is None:
            raise RpcError(REFUSED, "filter not found")
        return get_logs(self._chain, watched.criteria)

    def _get(self, identity: int) -> _Filter:
        watched = self._filters.get(identity)
        if watched is None:
            raise RpcError(REFUSED, "filter not found")
        return watched
