"""The semantic cache on labelled pairs of questions: false hits and hits, and where its two thresholds stand.

`python -m benchmarks.cache` prints it. The thresholds were chosen on one half of the pairs and are reported on the
other. A family (a template, or a question by hand with all that belongs to it) lies in one half whole.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine import Embedder
from engine.cache.agreement import WORD_SIMILARITY, disagreement
from engine.cache.reading import plain, read
from engine.cache.settings import SIMILARITY

PAIRS = Path(__file__).parent / "pairs"


@dataclass(frozen=True)
class Pair:
    family: str
    kind: str
    same: bool
    """whether the answer to one answers the other"""
    one: str
    other: str

    @property
    def chooses(self) -> bool:
        """Whether it lies in the half that thresholds are chosen on: the first byte of its family's hash is even."""
        return hashlib.sha256(self.family.encode()).digest()[0] % 2 == 0


@dataclass(frozen=True)
class Scored:
    pair: Pair
    similarity: float
    word_similarity: float | None
    """of the least near two words that would stand for each other; 1 where none must; None where the two disagree"""

    def hits(self, similarity: float = SIMILARITY, word_similarity: float = WORD_SIMILARITY) -> bool:
        """Whether the cache answers one with the other's answer."""
        near = self.similarity >= similarity
        return near and self.word_similarity is not None and self.word_similarity >= word_similarity


def pairs() -> list[Pair]:
    files = sorted(PAIRS.glob("*.jsonl"))
    return [Pair(**json.loads(line)) for file in files for line in file.read_text().splitlines()]


def scored(labelled: Sequence[Pair]) -> list[Scored]:
    embedder = Embedder()
    texts = sorted({plain(text) for pair in labelled for text in (pair.one, pair.other)})
    vectors = dict(zip(texts, embedder.embed(texts), strict=True))
    return [
        Scored(pair, float(vectors[plain(pair.one)] @ vectors[plain(pair.other)]), _words(pair, embedder))
        for pair in labelled
    ]


def _words(pair: Pair, embedder: Embedder) -> float | None:
    asked: list[float] = [1.0]

    def nearness(one: str, other: str) -> float:
        first, second = embedder.embed([one, other])
        asked.append(float(first @ second))
        return 1.0

    one, other = read(pair.one), read(pair.other)
    agreed = one.mark == other.mark and disagreement(one, other, nearness) is None
    return min(asked) if agreed else None


def interval(count: int, of: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    if not of:
        return 0.0, 1.0
    z, share = 1.959964, count / of
    centre, width = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, (centre - width) / (1 + z * z / of)), (centre + width) / (1 + z * z / of)


def main() -> None:
    out = Console()
    everything = scored(pairs())
    for name, half in (("choosing", True), ("reporting", False)):
        mine = [each for each in everything if each.pair.chooses is half]
        families = len({each.pair.family for each in mine})
        out.print(f"\n[bold]the {name} half[/]: {len(mine)} pairs of {families} families")
        out.print(_by_kind(mine))
        out.print(_curve(mine))


def _by_kind(half: Sequence[Scored]) -> Table:
    table = Table("kind", "pairs", "hits", "share", "95% interval", box=None)
    rows = {"all that differ": [each for each in half if not each.pair.same]}
    for each in half:
        rows.setdefault(each.pair.kind, []).append(each)
    for kind, mine in rows.items():
        hits = sum(each.hits() for each in mine)
        low, high = interval(hits, len(mine))
        table.add_row(kind, str(len(mine)), str(hits), f"{hits / len(mine):.2%}", f"{low:.2%} to {high:.2%}")
    return table


def _curve(half: Sequence[Scored]) -> Table:
    table = Table("similarity", "words", "cosine alone: false", "hits", "with agreement: false", "hits", box=None)
    same, differ = [each for each in half if each.pair.same], [each for each in half if not each.pair.same]
    points = [(step / 100, WORD_SIMILARITY) for step in range(50, 100, 5)]
    points += [(SIMILARITY, step / 100) for step in range(30, 100, 10)]
    for similarity, word in points:
        alone = [sum(each.similarity >= similarity for each in mine) / len(mine) for mine in (differ, same)]
        both = [sum(each.hits(similarity, word) for each in mine) / len(mine) for mine in (differ, same)]
        table.add_row(f"{similarity:.2f}", f"{word:.2f}", *(f"{share:.2%}" for share in (*alone, *both)))
    return table


if __name__ == "__main__":
    main()
