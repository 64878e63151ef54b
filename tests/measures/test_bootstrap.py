import math
from typing import Any

import numpy as np
import pytest

from irdream.measures.bootstrap import (
    Interval,
    between,
    mean_interval,
    median_interval,
    share_interval,
)

INTERVALS = [mean_interval, median_interval, share_interval]
UNKNOWN = pytest.approx([math.nan] * 3, nan_ok=True)


@pytest.mark.parametrize(
    ("interval", "how", "text"),
    [
        (Interval(0.931, 0.88, 0.966), (), "0.93 (0.88 to 0.97)"),
        (Interval(12.34, -1.0, 20.0), (1,), "12.3 (-1.0 to 20.0)"),
        (Interval(2.5, math.nan, math.nan), (2,), "2.50 (no interval)"),
        (Interval(0.931, 0.88, 0.966), (0, "%"), "93% (88% to 97%)"),
        (Interval(0.5, math.nan, math.nan), (0, "%"), "50% (no interval)"),
    ],
)
def test_text(interval: Interval, how: tuple[Any, ...], text: str) -> None:
    assert interval.text(*how) == text


def test_the_bounds_are_percentiles() -> None:
    # Of two groups the draws are aa, ab, ba, bb: means 0, 1/2, 1/2, 1.
    assert mean_interval([0.0, 1.0]) == (0.5, 0, 1)
    # Of one large and one small group: 0, 3/4, 3/4, 1; of 2000 draws 5 % lie outside.
    assert mean_interval([0.0, 1.0, 1.0, 1.0], "abbb") == (0.75, 0, 1)
    draws = np.array([0.0] * 30 + [0.25] * 940 + [1.0] * 20)
    assert between(0.2, draws, 3) == (0.2, 0.0, 0.25)


def test_draws_that_miss_the_estimate_give_no_bounds() -> None:
    draws = np.array([0.0] * 30 + [0.25] * 940 + [1.0] * 20)
    nothing = pytest.approx([0.5, math.nan, math.nan], nan_ok=True)
    assert between(0.5, draws, 3) == nothing
    assert between(0.25 + 1e-9, draws, 3)[1:] == (0.0, 0.25)


@pytest.mark.parametrize("rows", [1, 2, 7, 40])
@pytest.mark.parametrize("is_grouped", [False, True])
def test_mean_and_median_are_what_the_plain_bootstrap_gives(
    rows: int, is_grouped: bool, draws, plain_bootstrap
) -> None:
    draws(300)
    rng = np.random.default_rng(rows)
    values = rng.normal(size=rows)
    groups = rng.integers(5, size=rows) if is_grouped else np.arange(rows)
    for quick, statistic in [(mean_interval, np.mean), (median_interval, np.median)]:
        plain = plain_bootstrap(lambda drawn, of=statistic: of(values[drawn]), groups)
        assert quick(values, groups) == pytest.approx(plain, nan_ok=True)


@pytest.mark.parametrize("interval", INTERVALS)
def test_nan_values_are_left_out_with_their_groups(interval) -> None:
    values = [0.0, math.nan, 1.0, 1.0, 0.0, math.nan]
    assert interval(values, "aabbcd") == interval([0.0, 1.0, 1.0, 0.0], "abbc")
    for nothing in ([], [math.nan, math.nan]):
        assert interval(nothing) == UNKNOWN


def test_draws_that_say_nothing_are_left_out() -> None:
    assert between(1.0, np.array([math.nan, 1.0, math.nan]), 2) == (1, 1, 1)
    nothing = pytest.approx([1.0, math.nan, math.nan], nan_ok=True)
    assert between(1.0, np.array([math.nan]), 2) == nothing


@pytest.mark.parametrize("interval", INTERVALS[:2])
def test_one_group_gives_no_bounds(interval) -> None:
    assert interval([1.0, 3.0], "aa") == pytest.approx([2.0, math.nan, math.nan], nan_ok=True)


def test_an_infinite_value_gives_an_infinite_bound_of_the_median() -> None:
    assert median_interval([1.0, 2.0, math.inf, math.inf]) == (math.inf, 1.0, math.inf)


def test_equal_flags_get_the_exact_interval_of_the_groups() -> None:
    # (alpha / 2) ** (1 / n) for n of n
    assert share_interval([True] * 10) == pytest.approx((1, 0.025**0.1, 1))
    assert share_interval([False] * 10) == pytest.approx((0, 0, 1 - 0.025**0.1))
    assert share_interval([True] * 10, "aaabbbbccc") == pytest.approx((1, 0.025 ** (1 / 3), 1))
