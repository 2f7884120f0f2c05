"""Money is an integer: what is parsed, shown and converted loses nothing, and rounds against the payer once."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from ledger.money import MAX_USD_NANOS, NANOS_PER_USD, Asset, usd_exact, usd_fields, usd_nanos

_NANOS = st.integers(0, MAX_USD_NANOS)
_DECIMALS = st.sampled_from([0, 2, 6, 9, 18])
_RATES = st.one_of(st.just(NANOS_PER_USD), st.integers(1, 100_000 * NANOS_PER_USD))


@given(_NANOS)
def test_an_exact_amount_comes_back_as_it_was(nanos: int) -> None:
    """`*_usd_exact` is parsed to the same nanos, as text and as a Decimal."""
    assert usd_nanos(usd_exact(nanos)) == nanos
    assert usd_nanos(Decimal(usd_exact(nanos))) == nanos
    assert Decimal(usd_exact(nanos)) * NANOS_PER_USD == nanos
    assert usd_exact(-nanos) == (f"-{usd_exact(nanos)}" if nanos else "0")


@given(st.integers(0, 10**6 * NANOS_PER_USD))
def test_a_json_number_is_the_amount_that_its_digits_say(nanos: int) -> None:
    """0.1 is 100,000,000 nanos, though its float is not a tenth: up to 15 digits nothing is lost."""
    number = json.loads(json.dumps(usd_fields("price_usd", nanos)))["price_usd"]
    assert usd_nanos(number) == nanos


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        (0.1, 100_000_000),
        (19.99, 19_990_000_000),
        (1e-9, 1),
        ("1e-9", 1),
        (" 2.50 ", 2_500_000_000),
        (0, 0),
        ("-0", 0),
        ("0.000000001000", 1),
        (4_000_000_000, MAX_USD_NANOS),
        (Decimal("0.05"), 50_000_000),
        ("0.05".ljust(64, "0"), 50_000_000),
    ],
)
def test_amounts_are_read_as_written(value: Any, nanos: int) -> None:
    """Numbers and decimal strings, with or without an exponent."""
    assert usd_nanos(value) == nanos


@pytest.mark.parametrize(
    "value",
    [
        "0.05".ljust(65, "0"), True, False, None, [], {}, b"1", "", "one", "1_000", "١", "0x10", "1,5", "--1",
        float("nan"), "NaN", "sNaN", float("inf"), "-Infinity", "1e400", "1e999999999",
        -1, -0.01, "-0.000000001", "0.0000000001", 1e-10, "4000000000.000000001", 10**30, "9" * 65,
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused_by_name(value: Any) -> None:
    """More than nine decimals, NaN, 1e400, negatives, booleans: never rounded, never guessed."""
    with pytest.raises(InvalidInput) as refused:
        usd_nanos(value, "max_price_usd")
    assert refused.value.param == "max_price_usd"
    assert refused.value.message.startswith("INVALID_INPUT: max_price_usd must ")


@given(st.one_of(st.text(max_size=70), st.floats(), st.integers(), st.decimals()))
def test_whatever_is_sent_is_an_amount_in_range_or_refused(value: Any) -> None:
    """No other exception, and no amount that a database could not hold."""
    try:
        assert 0 <= usd_nanos(value) <= MAX_USD_NANOS
    except InvalidInput:
        pass


@given(_NANOS, _DECIMALS, _RATES)
def test_atomic_units_are_the_fewest_that_cover_the_price(nanos: int, decimals: int, rate: int) -> None:
    """Rounded up against the payer, by less than one unit, at 6 and at 18 decimals and any rate."""
    asset = _asset(decimals, rate)
    atomic = asset.atomic_from_nanos(nanos)
    worth = Decimal(rate) / 10**decimals
    assert atomic * rate >= nanos * 10**decimals
    assert atomic == 0 or (atomic - 1) * rate < nanos * 10**decimals
    assert asset.nanos_from_atomic(atomic) >= nanos
    assert asset.nanos_from_atomic(atomic) <= nanos + worth


@given(st.integers(0, 10**27), _DECIMALS, _RATES)
def test_what_a_payment_is_worth_is_never_more_than_was_paid(atomic: int, decimals: int, rate: int) -> None:
    """Rounded down, and paying what it is worth never costs more units."""
    asset = _asset(decimals, rate)
    nanos = asset.nanos_from_atomic(atomic)
    assert nanos * 10**decimals <= atomic * rate < (nanos + 1) * 10**decimals
    assert asset.atomic_from_nanos(nanos) <= atomic


@given(_NANOS, st.sampled_from([6, 18]))
def test_a_dollar_token_at_par_is_exact_where_its_decimals_allow(nanos: int, decimals: int) -> None:
    """18 decimals hold each nano; 6 decimals hold each micro-dollar."""
    asset = _asset(decimals, NANOS_PER_USD)
    if decimals == 18 or nanos % 1_000 == 0:
        assert asset.nanos_from_atomic(asset.atomic_from_nanos(nanos)) == nanos
    else:
        assert asset.atomic_from_nanos(nanos) == nanos // 1_000 + 1


def _asset(decimals: int, rate: int) -> Asset:
    return Asset("eip155:31337", "0x" + "00" * 20, "USD Coin", "2", decimals, rate)
