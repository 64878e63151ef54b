"""How sure an average is: bootstrap intervals over groups of rows.

Excerpts of one recording, and dreams of one excerpt, are alike; rows that are alike say less
than as many independent ones. So whole groups are drawn with replacement, with all their rows,
and the interval lies between two percentiles of what is computed on each draw. Where all rows
say yes (or no) every draw does, and the exact interval of Clopper and Pearson takes its place.

A mean or median of 1000 rows takes about 0.1 s with 2000 draws, the mean average precision of
2874 rows of 11 scores 1 s. `scipy.stats.bootstrap` knows no groups of unequal size, and
interpolates between draws, where a signal-to-noise ratio can be infinite.

Sources: B. Efron and R. Tibshirani, "An introduction to the bootstrap", 1993, chapter 13
(percentiles); A. Davison and D. Hinkley, "Bootstrap methods and their application", 1997,
section 3.8 (groups); C. Clopper and E. Pearson, Biometrika 26(4), 1934.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from irdream.errors import InputError

Array = NDArray[np.floating]
Indices = NDArray[np.intp]

LEVEL = 0.95  # share of the draws between the bounds
RESAMPLES = 2000
_DRAWS = 100  # at a time


class Interval(NamedTuple):
    """An estimate between two bounds; the bounds are NaN where the rows give none."""

    estimate: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Return such as "0.93 (0.88 to 0.97)"."""
        if math.isnan(self.low):
            return f"{self.estimate:.{digits}f} (no interval)"
        return f"{self.estimate:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


NOTHING = Interval(math.nan, math.nan, math.nan)


def mean_interval(
    values: ArrayLike,
    groups: Iterable[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of the mean of values (rows,), NaN values left out.

    Args:
        values: one a row.
        groups: for each row what it belongs to; None: each row is a group.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        InputError: when there is not one group a value.
    """
    kept, numbers, count = _present(values, groups)
    if count == 0:
        return NOTHING
    sums = np.bincount(numbers, weights=kept, minlength=count)
    sizes = np.bincount(numbers, minlength=count)
    draws = draws_of(count, resamples, seed)
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    return between(float(kept.mean()), means, count)


def median_interval(
    values: ArrayLike,
    groups: Iterable[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of the median of values (rows,), NaN values left out.

    Args and errors are those of `mean_interval`.
    """
    kept, numbers, count = _present(values, groups)
    if count == 0:
        return NOTHING
    order = np.argsort(kept, kind="stable")
    ascending, numbers = kept[order], numbers[order]
    # How often each row is drawn, added up from the lowest value: half of it is the median.
    places = draws_of(count, resamples, seed) + count * np.arange(resamples)[:, None]
    times = np.bincount(places.ravel(), minlength=count * resamples).reshape(resamples, count)
    ranks = times[:, numbers].cumsum(axis=1)
    half = ranks[:, -1:] / 2
    below, above = (ranks >= half).argmax(axis=1), (ranks > half).argmax(axis=1)
    medians = (ascending[below] + ascending[above]) / 2
    return between(float(np.median(kept)), medians, count)


def share_interval(
    flags: ArrayLike,
    groups: Iterable[Hashable] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the interval of the share of flags (rows,) that are set, NaN left out.

    It is the bootstrap's. Where all flags are equal that would have no width; the bounds are
    then those of Clopper and Pearson for as many trials as there are groups, all of one result.

    Args and errors are those of `mean_interval`.
    """
    kept, _, count = _present(flags, groups)
    if count and (kept == kept[0]).all():
        test = binomtest(count if kept[0] else 0, count)
        low, high = test.proportion_ci(confidence_level=LEVEL, method="exact")
        return Interval(float(kept[0]), float(low), float(high))
    return mean_interval(flags, groups, resamples=resamples, seed=seed)


def map_interval(
    truth: NDArray[np.bool_],
    scores: Array,
    groups: Iterable[Hashable],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of the mean average precision.

    On each draw it is the mean over the instruments that have a label there. One seed draws here
    what it draws in `tallies`.

    Args:
        truth: labels (rows, instruments).
        scores: of the same shape.
        groups: for each row what it belongs to.
        resamples, seed: as of `mean_interval`.

    Raises:
        InputError: when there is not one group a row.
    """
    numbers, count = numbered(groups)
    if not len(numbers) == len(truth) == len(scores):
        raise InputError(
            f"{len(truth)} rows of labels, {len(scores)} of scores and {len(numbers)} groups; "
            "expected as many of each"
        )
    if not truth.any():
        return NOTHING
    draws = draws_of(count, resamples, seed)
    times = np.stack([np.bincount(one, minlength=count) for one in draws])
    drawn = np.full((truth.shape[1], resamples), np.nan)
    whole = np.full(truth.shape[1], np.nan)
    for i in np.flatnonzero(truth.any(axis=0)):
        for begin in range(0, resamples, _DRAWS):
            some = slice(begin, begin + _DRAWS)
            drawn[i, some] = average_precision(truth[:, i], scores[:, i], times[some, numbers])
        whole[i] = average_precision(truth[:, i], scores[:, i], np.ones((1, len(truth))))[0]
    return between(float(np.nanmean(whole)), _mean_of_present(drawn), count)


def average_precision(truth: NDArray[np.bool_], scores: Array, times: Array | Indices) -> Array:
    """Return the average precision of rows that count several times or never: (draws,).

    The precision among all rows that score no less than a labelled one, averaged over these.

    Args:
        truth: (rows,).
        scores: (rows,); those of equal score are taken together.
        times: how often each row counts, (draws, rows); NaN where no labelled one does.
    """
    order = np.argsort(-scores, kind="stable")
    truth, scores, times = truth[order], scores[order], times[:, order]
    ends = np.searchsorted(-scores, -scores, side="right") - 1
    places = np.flatnonzero(truth)
    labelled = times[:, places]
    right = labelled.cumsum(axis=1)[:, truth.cumsum()[ends[places]] - 1]
    precision = right / np.maximum(times.cumsum(axis=1)[:, ends[places]], 1)
    with np.errstate(invalid="ignore"):
        return (labelled * precision).sum(axis=1) / labelled.sum(axis=1)


def _mean_of_present(values: Array) -> Array:
    """Return the mean of the columns without NaN values; NaN where there is nothing else."""
    is_there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(is_there, values, 0).sum(axis=0) / is_there.sum(axis=0)


def numbered(groups: Iterable[Hashable]) -> tuple[Indices, int]:
    """Return the group of each row as a number from 0, and how many groups there are."""
    known: dict[Hashable, int] = {}
    numbers = [known.setdefault(group, len(known)) for group in groups]
    return np.array(numbers, dtype=np.intp), len(known)


def _present(values: ArrayLike, groups: Iterable[Hashable] | None) -> tuple[Array, Indices, int]:
    """Return the values that are there, the group of each as a number, and how many groups."""
    all_values = np.asarray(values, float)
    each = list(range(len(all_values)) if groups is None else groups)
    if all_values.shape != (len(each),):
        raise InputError(
            f"values have shape {all_values.shape} and there are {len(each)} groups; "
            "expected (rows,) and a group for each"
        )
    is_there = ~np.isnan(all_values)
    numbers, count = numbered(g for g, there in zip(each, is_there, strict=True) if there)
    return all_values[is_there], numbers, count


def draws_of(count: int, resamples: int, seed: int) -> Indices:
    """Return which of so many groups are drawn, (resamples, count)."""
    return np.random.default_rng(seed).integers(count, size=(resamples, count))


def between(estimate: float, results: Array, count: int) -> Interval:
    """Return the percentile interval of what was found on each draw of `count` groups.

    Args:
        estimate: of all rows.
        results: of the draws, (resamples,); NaN is left out.
        count: of groups; there are no bounds where there is but one.
    """
    present = results[~np.isnan(results)]
    if count < 2 or len(present) == 0:
        return Interval(estimate, math.nan, math.nan)
    # No interpolation: a signal-to-noise ratio can be infinite.
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(present, tails, method="nearest")
    return Interval(estimate, float(low), float(high))
