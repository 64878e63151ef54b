from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from irdream.errors import InputError
from irdream.measures.aggregation import POOLED_WINDOWS, aggregate

# Two windows of one excerpt, one window of another, silence.
WINDOWS = [
    np.array([[0.9, 0.2, 0.0], [0.3, 0.4, 0.0]]),
    np.array([[0.1, 0.2, 0.5]]),
    np.zeros((3, 3)),
]


def test_s1_is_the_mean_of_the_windows():
    expected = [[0.6, 0.3, 0.0], [0.1, 0.2, 0.5], [0, 0, 0]]
    np.testing.assert_allclose(aggregate(WINDOWS, "s1"), expected)


def test_s2_is_the_sum_over_its_maximum():
    expected = [[1.0, 0.5, 0.0], [0.2, 0.4, 1.0], [0, 0, 0]]
    np.testing.assert_allclose(aggregate(WINDOWS, "s2"), expected)


def test_max_of_few_windows_is_their_maximum_over_the_largest():
    expected = [[1.0, 0.4 / 0.9, 0.0], [0.2, 0.4, 1.0], [0, 0, 0]]
    np.testing.assert_allclose(aggregate(WINDOWS, "max"), expected)


def test_max_is_local_in_time():
    assert POOLED_WINDOWS == 4
    windows = np.array([[0.5, 0.0]] * 8)
    windows[0] = [0.9, 0.6]  # in the first of five pooled windows
    windows[4] = [0.5, 0.2]  # in the other four
    expected = [[1.0, (0.6 + 4 * 0.2) / (0.9 + 4 * 0.5)]]
    np.testing.assert_allclose(aggregate([windows], "max"), expected)


def test_an_instrument_heard_now_and_then_stands_higher_by_max():
    windows = np.array([[0.9, 0.0], [0.2, 0.8], [0.9, 0.0], [0.9, 0.0], [0.9, 0.0], [0.9, 0.0]])
    assert aggregate([windows], "max")[0, 1] > 2 * aggregate([windows], "s2")[0, 1]


def test_unknown_aggregation():
    with pytest.raises(InputError, match=r"aggregation 'mean'; expected 's1' or 's2' or 'max'"):
        aggregate(WINDOWS, "mean")


score_lists = st.lists(
    st.integers(1, 6).flatmap(lambda n: arrays(float, (n, 4), elements=st.floats(0, 1, width=16))),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)
@given(score_lists)
def test_aggregations_keep_the_range_and_the_order(windows):
    s1, s2, largest = (aggregate(windows, by) for by in ("s1", "s2", "max"))
    assert all(((x >= 0) & (x <= 1)).all() for x in (s1, s2, largest))
    np.testing.assert_array_equal(s1.argmax(axis=1), s2.argmax(axis=1))
    assert set(s2.max(axis=1)) | set(largest.max(axis=1)) <= {0.0, 1.0}


@settings(deadline=None)
@given(score_lists, st.randoms())
def test_s1_does_not_depend_on_the_order_of_windows(windows, rng):
    shuffled = [np.array(rng.sample(list(scores), len(scores))) for scores in windows]
    np.testing.assert_allclose(aggregate(shuffled, "s1"), aggregate(windows, "s1"))
