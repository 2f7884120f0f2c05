"""A rate is read from words, stated in words, and counts begun units of the input: integers all the way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnode.payments import Rate, read_rate
from ledger.errors import InvalidInput


@pytest.mark.parametrize(
    ("said", "text", "nanos"),
    [
        ("0.01", "", 10_000_000),
        ("0.01", "x" * 9_999, 10_000_000),
        ("0.002 per 1000 characters", "", 2_000_000),
        ("0.002 per 1000 characters", "x" * 1_000, 2_000_000),
        ("0.002 per 1000 characters", "x" * 1_001, 4_000_000),
        ("0.5 per word", "three words here", 1_500_000_000),
        ("0.001 per line", "one\n\ntwo\n", 2_000_000),
        ("0.001 per item", '[1, {"a": 2}, "x"]', 3_000_000),
        ("0.001 per 2 items", "one\ntwo\nthree", 2_000_000),
        ("0.001 per item", '{"not": "a list"}', 1_000_000),
    ],
)
def test_each_begun_unit_costs_and_one_at_least(said: str, text: str, nanos: int) -> None:
    assert read_rate(said, "price").price(text).usd_nanos == nanos


def test_the_terms_say_what_is_charged_and_their_version_is_theirs_alone() -> None:
    rate, other = read_rate("0.002 per 1000 characters", "price"), read_rate("0.003 per 1000 characters", "price")
    assert rate.terms == "0.002 USD per 1000 characters"
    assert rate.price("x").version != other.price("x").version
    assert rate.price("x").says == "1 characters at 0.002 USD per 1000 characters."
    assert read_rate("0.01", "price").terms == "0.01 USD"
    assert read_rate("0", "price").terms == ""


def test_a_unit_of_ones_own_is_counted_by_ones_own_function() -> None:
    rate = read_rate("0.01 per page", "price", count=lambda text: text.count("\f") + 1)
    assert rate.price("one\ftwo").usd_nanos == 20_000_000


@pytest.mark.parametrize(
    "said",
    ["cheap", "0.01 per", "0.01 per parsec", "-1 per word", "0.01 per 0 words", "0.01 per -5 words", None],
)
def test_what_is_no_price_is_refused_by_its_field(said: Any) -> None:
    with pytest.raises(InvalidInput, match="price"):
        read_rate(said, "price")


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.text(max_size=300))
def test_a_longer_input_never_costs_less(nanos: int, size: int, text: str) -> None:
    for unit in ("character", "word", "line"):
        rate = Rate(nanos, size, unit)
        assert nanos <= rate.price(text).usd_nanos <= rate.price(text + "\nmore").usd_nanos
