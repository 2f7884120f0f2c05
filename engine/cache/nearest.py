"""The questions of each family as vectors in this process's memory, brought up to date by their numbers."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

MOST_NUMBERS = 50_000 * 256
"""In memory at once, of all tenants: 51 MB. The families used least recently go first, then the oldest questions."""
_HEAD = struct.Struct(">qq")

Family = tuple[str, str, str]
"""Tenant, scope, family hash: whose questions are compared."""


@dataclass
class _Known:
    vectors: numpy.ndarray
    seqs: numpy.ndarray
    ends_at_us: numpy.ndarray
    marks: numpy.ndarray
    seen_seq: int = 0


def packed(mark: int, ends_at_us: int, vector: numpy.ndarray) -> bytes:
    """A question as it lies in the vault: the mark of what must be equal, its end, half-precision numbers."""
    return _HEAD.pack(mark, ends_at_us) + vector.astype(">f2").tobytes()


class Nearest:
    """Vectors by family. Deleted entries may still stand here: whoever takes a candidate asks the books first."""

    def __init__(self, most_numbers: int = MOST_NUMBERS) -> None:
        self._families: OrderedDict[Family, _Known] = OrderedDict()
        self._most_numbers = most_numbers

    def seen_seq(self, family: Family) -> int:
        known = self._families.get(family)
        return 0 if known is None else known.seen_seq

    def add(self, family: Family, items: Sequence[tuple[int, bytes]], now_us: int) -> None:
        """Take in what the vault has behind `seen_seq`, in order; what ended meanwhile is dropped.

        All vectors of a family are as long as its newest: a model that changes its dimensions under the same name
        leaves its earlier ones behind.
        """
        import numpy

        known = self._families.get(family)
        new = [(seq, data) for seq, data in items if known is None or seq > known.seen_seq]
        if not new:
            return
        size = len(new[-1][1])
        new = [(seq, data) for seq, data in new if len(data) == size]
        heads = [_HEAD.unpack_from(data) for _, data in new]
        vectors = numpy.stack([numpy.frombuffer(data, ">f2", offset=_HEAD.size).astype("f4") for _, data in new])
        seqs = numpy.array([seq for seq, _ in new])
        ends_at_us = numpy.array([end for _, end in heads])
        marks = numpy.array([mark for mark, _ in heads])
        if known is not None and known.vectors.shape[1] == vectors.shape[1]:
            (alive,) = numpy.nonzero(known.ends_at_us > now_us)
            vectors = numpy.concatenate([known.vectors[alive], vectors])
            seqs = numpy.concatenate([known.seqs[alive], seqs])
            ends_at_us = numpy.concatenate([known.ends_at_us[alive], ends_at_us])
            marks = numpy.concatenate([known.marks[alive], marks])
        most = max(1, self._most_numbers // vectors.shape[1])
        self._families[family] = _Known(
            vectors[-most:], seqs[-most:], ends_at_us[-most:], marks[-most:], seen_seq=new[-1][0]
        )
        self._make_room(family)

    def candidates(
        self, family: Family, mark: int, vector: numpy.ndarray, similarity: float, most: int
    ) -> list[tuple[int, float]]:
        """Numbers and similarities of the nearest questions with the same mark, nearest first."""
        import numpy

        known = self._families.get(family)
        if known is None or known.vectors.shape[1] != len(vector):
            return []
        self._families.move_to_end(family)
        (places,) = numpy.nonzero(known.marks == mark)
        near = known.vectors[places] @ vector.astype("f4")
        pairs = zip(known.seqs[places].tolist(), near.tolist(), strict=True)
        found = [(seq, score) for seq, score in pairs if score >= similarity]
        return sorted(found, key=lambda pair: (-pair[1], -pair[0]))[:most]

    def forget(self, family: Family, seq: int) -> None:
        """An entry that the books no longer have: gone at the next addition, and found no more."""
        known = self._families.get(family)
        if known is not None:
            known.ends_at_us[known.seqs == seq] = 0
            known.vectors[known.seqs == seq] = 0

    def _make_room(self, newest: Family) -> None:
        self._families.move_to_end(newest)
        held = sum(known.vectors.size for known in self._families.values())
        while held > self._most_numbers and len(self._families) > 1:
            _, dropped = self._families.popitem(last=False)
            held -= dropped.vectors.size
