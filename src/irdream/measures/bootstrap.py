"""How sure an average is: bootstrap intervals over groups of rows.

Excerpts of one recording are alike, so whole groups are drawn with replacement, and the interval
lies between two percentiles (Efron and Tibshirani 1993, chapter 13; Davison and Hinkley 1997,
section 3.8). Where all rows say yes (or no) the exact interval of Clopper and Pearson (1934) takes
its place. What is drawn is how often each row counts, so that medians, F1 and average precisions
are computed on many draws at once. `scipy.stats.bootstrap` has no groups of unequal size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

Array = NDArray[np.floating]
Groups = Iterable[Hashable]

LEVEL = 0.95  # share of the draws between the bounds
RESAMPLES = 2000
_DRAWS = 100  # at a time
_ROUNDING = 1e-6


class Interval(NamedTuple):
    """An estimate between two bounds; the bounds are NaN where the rows give none."""

    estimate: float
    low: float
    high: float

    def text(self, digits: int = 2, kind: str = "f") -> str:
        """Return such as "0.93 (0.88 to 0.97)"; of the kind "%" as shares."""
        estimate, low, high = (f"{value:z.{digits}{kind}}" for value in self)
        bounds = "no interval" if math.isnan(self.low) else f"{low} to {high}"
        return f"{estimate} ({bounds})"


NOTHING = Interval(math.nan, math.nan, math.nan)


def bootstrap(
    statistics: Callable[[Array], Mapping[str, Array]],
    groups: Groups,
    *,
    crossed: Groups | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the intervals of statistics of rows, whole groups of rows being drawn.

    `statistics` returns by name (draws,), from how often each row counts, (draws, rows); NaN where
    they are not defined. There are no bounds where there is but one group, or where no draw has a
    value.

    `crossed` are other groups of the same rows, such as the network beside the recording; both are
    drawn, each on its own (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2),
    2007). With three networks the bounds say little more than how far apart these are.
    """
    random, parts = np.random.default_rng(seed), []
    axes = [numbered(some) for some in (groups, crossed) if some is not None]
    drawn = [(i, random.integers(n, size=(RESAMPLES, n))) for i, n in axes]
    for begin in range(0, RESAMPLES, _DRAWS):
        times = np.ones((1, 1))
        for numbers, draws in drawn:
            some = draws[begin : begin + _DRAWS]
            counts = np.stack([np.bincount(one, minlength=some.shape[1]) for one in some])
            times = times * counts[:, numbers]
        parts.append(statistics(times))
    found = {}
    for name, estimate in statistics(np.ones((1, len(axes[0][0])))).items():
        values = np.concatenate([part[name] for part in parts])
        found[name] = between(float(estimate[0]), values, min(n for _, n in axes))
    return found


def between(estimate: float, results: Array, count: int) -> Interval:
    """Return the percentile interval of results (draws,) of `count` groups, without NaN.

    Draws that all but miss the estimate, as a mean over the classes that were drawn does where most
    classes have one row, say nothing of it: there are no bounds then.
    """
    present = results[~np.isnan(results)]
    if count < 2 or not len(present):
        return Interval(estimate, math.nan, math.nan)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(present, tails, method="nearest")
    if not low - _ROUNDING <= estimate <= high + _ROUNDING:
        return Interval(estimate, math.nan, math.nan)
    return Interval(estimate, float(low), float(high))


def mean_interval(
    values: ArrayLike, groups: Groups | None = None, crossed: Groups | None = None
) -> Interval:
    """Return the bootstrap interval of the mean of values (rows,), NaN left out."""
    if crossed is not None:
        _, crossed = _present(values, crossed)
    kept, groups = _present(values, groups)
    if not len(kept):
        return NOTHING

    def mean(times: Array) -> dict[str, Array]:
        count = times.sum(axis=1)  # none, where no drawn group has a drawn one of the others
        return {"mean": np.where(count > 0, times @ kept / np.maximum(count, 1), np.nan)}

    return bootstrap(mean, groups, crossed=crossed)["mean"]


def median_interval(values: ArrayLike, groups: Groups | None = None) -> Interval:
    """Return the bootstrap interval of the median of values (rows,), as `mean_interval`."""
    kept, groups = _present(values, groups)
    if not len(kept):
        return NOTHING
    order = np.argsort(kept, kind="stable")

    def median(times: Array) -> dict[str, Array]:
        ranks = times[:, order].cumsum(axis=1)  # how many rows are no higher
        half = ranks[:, -1:] / 2
        below, above = (ranks >= half).argmax(axis=1), (ranks > half).argmax(axis=1)
        return {"median": (kept[order][below] + kept[order][above]) / 2}

    return bootstrap(median, groups)["median"]


def share_interval(
    flags: ArrayLike, groups: Groups | None = None, crossed: Groups | None = None
) -> Interval:
    """Return the interval of the share of flags (rows,) that are set, as `mean_interval`.

    Where all flags are equal the bootstrap's would have no width; the bounds are then those of
    Clopper and Pearson for as many trials as there are groups, all of one result.
    """
    groups = None if groups is None else list(groups)
    kept, present = _present(flags, groups)
    if not len(kept) or (kept != kept[0]).any():
        return mean_interval(flags, groups, crossed)
    trials = len(set(present))
    test = binomtest(trials if kept[0] else 0, trials)
    low, high = test.proportion_ci(confidence_level=LEVEL, method="exact")
    return Interval(float(kept[0]), float(low), float(high))


def numbered(groups: Groups) -> tuple[NDArray[np.intp], int]:
    """Return the group of each row as a number from 0, and how many groups there are."""
    known: dict[Hashable, int] = {}
    numbers = [known.setdefault(group, len(known)) for group in groups]
    return np.array(numbers, dtype=np.intp), len(known)


def _present(values: ArrayLike, groups: Groups | None) -> tuple[Array, list[Hashable]]:
    """Return the values that are there, and the group of each."""
    known = np.asarray(values, float)
    each = zip(range(len(known)) if groups is None else groups, ~np.isnan(known), strict=True)
    return known[~np.isnan(known)], [group for group, is_there in each if is_there]
