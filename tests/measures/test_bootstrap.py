from __future__ import annotations

import math
import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from irdream.errors import InputError
from irdream.measures.bootstrap import (
    Interval,
    average_precision,
    between,
    map_interval,
    mean_interval,
    median_interval,
    share_interval,
)

INTERVALS = [mean_interval, median_interval, share_interval]


def test_text() -> None:
    assert Interval(0.931, 0.88, 0.966).text() == "0.93 (0.88 to 0.97)"
    assert Interval(12.34, -1.0, 20.0).text(1) == "12.3 (-1.0 to 20.0)"
    assert Interval(2.5, math.nan, math.nan).text() == "2.50 (no interval)"


def test_the_bounds_are_percentiles() -> None:
    # Of two groups the draws are aa, ab, ba, bb: means 0, 1/2, 1/2, 1.
    assert mean_interval([0.0, 1.0]) == (0.5, 0, 1)
    # Of one large and one small group: 0, 3/4, 3/4, 1; of 2000 draws 5 % lie outside.
    assert mean_interval([0.0, 1.0, 1.0, 1.0], "abbb") == (0.75, 0, 1)
    draws = np.array([0.0] * 30 + [0.25] * 940 + [1.0] * 20)
    assert between(0.5, draws, 3) == (0.5, 0.0, 0.25)


@pytest.mark.parametrize("rows", [1, 2, 7, 40])
@pytest.mark.parametrize("is_grouped", [False, True])
def test_mean_and_median_are_what_the_plain_bootstrap_gives(
    rows: int, is_grouped: bool, bootstrap
) -> None:
    rng = np.random.default_rng(rows)
    values = rng.normal(size=rows)
    groups = rng.integers(5, size=rows) if is_grouped else np.arange(rows)
    for quick, statistic in [(mean_interval, np.mean), (median_interval, np.median)]:
        plain = bootstrap(lambda drawn, of=statistic: of(values[drawn]), groups, 300, seed=4)
        quickly = quick(values, groups, resamples=300, seed=4)
        assert quickly == pytest.approx(plain, nan_ok=True)


def test_a_mean_is_that_of_scipys_bootstrap_within_its_error() -> None:
    values = np.random.default_rng(0).normal(size=200)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=2000, rng=0
    ).confidence_interval
    ours = mean_interval(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.sampled_from(INTERVALS[:2]))
@settings(max_examples=30, deadline=None)
def test_bounds_lie_among_the_values_and_move_with_them(values: list[float], interval) -> None:
    estimate, low, high = interval(values, resamples=100)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    moved = interval([value + 7 for value in values], resamples=100)
    assert moved == pytest.approx((estimate + 7, low + 7, high + 7))


@pytest.mark.parametrize("interval", INTERVALS)
def test_nan_values_are_left_out_with_their_groups(interval) -> None:
    values = [0.0, math.nan, 1.0, 1.0, 0.0, math.nan]
    assert interval(values, "aabbcd") == interval([0.0, 1.0, 1.0, 0.0], "abbc")


def test_draws_that_say_nothing_are_left_out() -> None:
    assert between(1.0, np.array([math.nan, 1.0, math.nan]), 2) == (1, 1, 1)
    nothing = pytest.approx([1.0, math.nan, math.nan], nan_ok=True)
    assert between(1.0, np.array([math.nan]), 2) == nothing


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_nothing_is_nan(interval, values: list[float]) -> None:
    assert interval(values) == pytest.approx([math.nan] * 3, nan_ok=True)


def test_one_group_gives_no_bounds() -> None:
    expected = pytest.approx([2.0, math.nan, math.nan], nan_ok=True)
    assert mean_interval([1.0, 3.0], "aa") == expected
    assert median_interval([1.0, 3.0], "aa") == expected


def test_an_infinite_ratio_gives_infinite_bounds() -> None:
    assert mean_interval([1.0, math.inf, math.inf]) == (math.inf, 1.0, math.inf)
    assert median_interval([1.0, 2.0, math.inf, math.inf]) == (math.inf, 1.0, math.inf)


def test_equal_flags_get_the_exact_interval_of_the_groups() -> None:
    # (alpha / 2) ** (1 / n) for n of n
    assert share_interval([True] * 10) == pytest.approx((1, 0.025**0.1, 1))
    assert share_interval([False] * 10) == pytest.approx((0, 0, 1 - 0.025**0.1))
    assert share_interval([True] * 10, "aaabbbbccc") == pytest.approx((1, 0.025 ** (1 / 3), 1))


def test_a_share_is_the_mean_of_its_flags() -> None:
    flags = np.arange(30) % 3 == 0
    assert share_interval(flags) == mean_interval(flags)
    assert share_interval(flags).estimate == pytest.approx(1 / 3)


@pytest.mark.parametrize("interval", [mean_interval, median_interval, share_interval])
def test_95_percent_intervals_cover_the_truth(interval) -> None:
    rng = np.random.default_rng(0)
    trials = 200
    covered = 0
    for _ in range(trials):
        values = rng.random(60) < 0.7 if interval is share_interval else rng.normal(3, 2, 60)
        truth = 0.7 if interval is share_interval else 3.0
        _, low, high = interval(values, resamples=400)
        covered += low <= truth <= high
    assert 0.9 * trials <= covered < trials


def test_intervals_of_groups_cover_where_those_of_rows_do_not() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), 8)
    covered = {"rows": 0, "groups": 0}
    for _ in range(200):
        values = rng.normal(size=30)[groups] + 0.3 * rng.normal(size=240)
        for name, given_groups in [("rows", None), ("groups", groups)]:
            _, low, high = mean_interval(values, given_groups, resamples=300)
            covered[name] += low <= 0 <= high
    assert covered["groups"] >= 180
    assert covered["rows"] < 120


@pytest.mark.parametrize("interval", INTERVALS)
def test_copies_of_rows_say_nothing_new(interval) -> None:
    values = np.random.default_rng(0).random(40)
    values = values < 0.5 if interval is share_interval else values
    alone = interval(values)
    copies = interval(np.repeat(values, 9), np.repeat(np.arange(40), 9))
    as_rows = interval(np.repeat(values, 9))
    assert copies == pytest.approx(alone, abs=1e-12)
    assert as_rows.high - as_rows.low < 0.6 * (alone.high - alone.low)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(size=20)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) != mean_interval(values, seed=1)


@pytest.mark.parametrize("interval", INTERVALS)
def test_a_thousand_rows_take_a_moment(interval) -> None:
    values = np.random.default_rng(0).random(1000)
    start = time.process_time()
    interval(values > 0.5 if interval is share_interval else values)
    assert time.process_time() - start < 0.4


@pytest.mark.parametrize("interval", INTERVALS)
def test_what_cannot_be_an_interval_is_refused(interval) -> None:
    with pytest.raises(InputError, match=r"shape \(2,\) and there are 3 groups; expected"):
        interval([1.0, 2.0], "abc")
    with pytest.raises(InputError, match=r"shape \(1, 2\) and there are 1 groups; expected"):
        interval([[1.0, 2.0]])


# Mean average precision


def ranked(rows: int = 40, instruments: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores with many ties; the last instrument has one label alone."""
    random = np.random.default_rng(rows)
    truth = random.random((rows, instruments)) < 0.3
    truth[:, -1] = np.arange(rows) == 5
    return truth, (0.3 * truth + random.random(truth.shape)).round(1)


def plain_map(truth: np.ndarray, scores: np.ndarray) -> float:
    present = np.flatnonzero(truth.any(axis=0))
    return float(np.mean([average_precision_score(truth[:, i], scores[:, i]) for i in present]))


def test_average_precision_is_that_of_scikit_learn_for_rows_drawn_again() -> None:
    truth, scores = ranked()
    drawn = np.random.default_rng(0).integers(40, size=(30, 40))
    times = np.stack([np.bincount(one, minlength=40) for one in drawn])
    found = average_precision(truth[:, 0], scores[:, 0], times)
    expected = [average_precision_score(truth[one, 0], scores[one, 0]) for one in drawn]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(average_precision(truth[:, 0], scores[:, 0], 1 - truth[None, :, 0])).all()


@pytest.mark.parametrize("each", [1, 3])
def test_the_interval_of_map_is_that_of_the_bootstrap_of_the_rows(each: int, bootstrap) -> None:
    truth, scores = ranked()
    groups = np.arange(40) // each
    expected = bootstrap(lambda rows: plain_map(truth[rows], scores[rows]), groups, 150, seed=2)
    found = map_interval(truth, scores, groups, resamples=150, seed=2)
    assert found == pytest.approx(expected)
    assert found.estimate == pytest.approx(plain_map(truth, scores))
    assert found.low < found.estimate < found.high


def test_copies_of_excerpts_say_nothing_new_of_map() -> None:
    truth, scores = ranked()
    copies = np.repeat(np.arange(40), 5)
    alone = map_interval(truth, scores, range(40), resamples=200)
    again = map_interval(truth[copies], scores[copies], copies, resamples=200)
    assert again == pytest.approx(alone)


def test_map_of_nothing_and_of_one_recording() -> None:
    truth, scores = ranked()
    none = map_interval(np.zeros_like(truth), scores, range(40))
    assert none == pytest.approx([math.nan] * 3, nan_ok=True)
    one = map_interval(truth, scores, [0] * 40, resamples=10)
    assert one == pytest.approx((plain_map(truth, scores), math.nan, math.nan), nan_ok=True)


def test_what_map_refuses() -> None:
    truth, scores = ranked()
    with pytest.raises(InputError, match="40 rows of labels, 40 of scores and 2 groups; expected"):
        map_interval(truth, scores, "ab")


def test_map_of_the_irmas_test_set_takes_seconds() -> None:
    random = np.random.default_rng(0)
    truth = random.random((2874, 11)) < 0.15
    start = time.process_time()
    map_interval(truth, random.random(truth.shape), range(2874), resamples=1000)
    assert time.process_time() - start < 4
