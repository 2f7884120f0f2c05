"""How a tenant's cache is set: on or off, for how long, how near, whom it keeps apart, and how much it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ledger.errors import InvalidInput

SIMILARITY = 0.80
"""Of the offline embeddings, for which alone it was chosen (docs/cache.md has its curve)."""
MAX_TTL_S = 86_400
MAX_ENTRIES = 50_000
PARTITIONS = ("tenant", "key", "user")


@dataclass(frozen=True)
class CacheSettings:
    """Defaults of a tenant that has set nothing."""

    enabled: bool = True
    similarity: float = 0.0
    """the cosine that two questions must reach, where it is more than the embeddings ask for by themselves"""
    ttl_s: int = 3_600
    partition: str = "tenant"
    """`tenant`: its keys share answers; `key`: none does; `user`: nor do two values of the body's `user`"""
    max_entries: int = 10_000

    def changed(self, body: Mapping[str, Any], least_similarity: float) -> CacheSettings:
        """With the fields of a body set. Raises InvalidInput naming the field that is unknown or out of range."""
        for name in body.keys() - self.__dataclass_fields__.keys():
            raise InvalidInput(str(name), f"is no setting of the cache; there are {', '.join(self.as_dict())}")
        for name, value in body.items():
            if problem := _problem(name, value, least_similarity):
                raise InvalidInput(name, problem)
        return replace(self, **{str(name): value for name, value in body.items()})

    def ttl_of(self, asked_ttl_s: int | None) -> int:
        """How long an answer is kept: what the request asks, else the setting; never over a day."""
        return min(self.ttl_s if asked_ttl_s is None else asked_ttl_s, MAX_TTL_S)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def _problem(name: str, value: Any, least_similarity: float) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    match name:
        case "enabled" if not isinstance(value, bool):
            return "must be true or false"
        case "similarity" if not (number and least_similarity <= value <= 1):
            return f"must be a number from {least_similarity} to 1: below it answers are wrong too often"
        case "ttl_s" if not (whole and 1 <= value <= MAX_TTL_S):
            return f"must be a whole number of seconds from 1 to {MAX_TTL_S}"
        case "partition" if value not in PARTITIONS:
            return f"must be one of {', '.join(PARTITIONS)}"
        case "max_entries" if not (whole and 1 <= value <= MAX_ENTRIES):
            return f"must be a whole number from 1 to {MAX_ENTRIES}"
    return None
