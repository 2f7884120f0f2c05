"""On the labelled pairs that were not used for choosing its thresholds, the cache is wrong at most once in 200."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache import Scored, interval, pairs, scored
from engine import Embedder
from engine.cache.settings import SIMILARITY, CacheSettings
from engine.cache.vectors import Offline


@pytest.fixture(scope="module")
def all_scored() -> list[Scored]:
    return scored(pairs())


def test_the_pairs_are_enough_and_half_of_them_hostile() -> None:
    """A thousand at least, 200 by hand, labels that cannot be told from their file, and no pair twice."""
    labelled = pairs()
    assert len(labelled) >= 1_000
    assert sum(pair.family.startswith("hand: ") for pair in labelled) >= 200
    assert sum(not pair.same for pair in labelled) * 2 >= len(labelled)
    assert len({(pair.one, pair.other) for pair in labelled}) == len(labelled)
    assert {pair.kind for pair in labelled} >= {"number", "negation", "entity", "unit", "language", "date", "payload"}
    families = {half: {pair.family for pair in labelled if pair.chooses is half} for half in (True, False)}
    assert not families[True] & families[False]


@pytest.mark.parametrize("chooses", [False, True], ids=["reporting half", "choosing half"])
def test_at_most_one_answer_in_two_hundred_is_another_questions(all_scored: list[Scored], chooses: bool) -> None:
    """Of the pairs that differ, at the default threshold; and the paraphrases are worth it."""
    half = [each for each in all_scored if each.pair.chooses is chooses]
    differ, same = [each for each in half if not each.pair.same], [each for each in half if each.pair.same]
    assert len(differ) >= 500
    false = [each.pair for each in differ if each.hits()]
    assert len(false) <= 0.005 * len(differ), false
    assert sum(each.hits() for each in same) >= 0.4 * len(same)


def test_a_vector_alone_would_answer_wrongly(all_scored: list[Scored]) -> None:
    """Most questions that differ in one word are nearer than the threshold: what protects is the agreement."""
    differ = [each for each in all_scored if not each.pair.same]
    assert sum(each.similarity >= SIMILARITY for each in differ) > len(differ) / 2


def test_the_page_shows_what_the_benchmark_finds(all_scored: list[Scored]) -> None:
    """Counts, hits and false hits of the reporting half, at the defaults."""
    page = " ".join((Path(__file__).parents[3] / "docs" / "cache.md").read_text().split())
    half = [each for each in all_scored if not each.pair.chooses]
    differ, same = [each for each in half if not each.pair.same], [each for each in half if each.pair.same]
    false, hits = sum(each.hits() for each in differ), sum(each.hits() for each in same)
    assert f"{len(all_scored):,} pairs of questions" in page
    assert f"{len(differ)} pairs that differ and {len(same)} that mean the same" in page
    assert f"**{false / len(differ):.2%} (95%: at most {interval(false, len(differ))[1]:.2%})**" in page
    low, high = interval(hits, len(same))
    assert f"**{hits / len(same):.2%} ({low * 100:.2f} to {high:.2%})**" in page


def test_the_default_is_the_threshold_that_was_chosen() -> None:
    """A tenant that sets none has it. The interval is Wilson's: no false hit in 700 is not the same as none ever."""
    assert (CacheSettings().similarity, Offline(Embedder()).similarity) == (0.0, SIMILARITY)
    low, high = interval(0, 700)
    assert low == pytest.approx(0, abs=1e-12) and high == pytest.approx(0.00546, abs=1e-4)
