"""One row of scores an excerpt from the scores of its windows, after Han et al.

An excerpt has any number of windows, so its window scores come as an array (windows,
instruments) and a data set's as a list of them. Three aggregations make one row per excerpt:

- S1: the mean of the windows' scores.
- S2: their sum, divided by its maximum over the instruments, so that the best one has 1.
- max: as S2, of the maxima of each instrument over four windows in a row, so that what sounds
  now and then is not averaged away.

A network that hears the whole excerpt at once has made one row by itself: "network", see
`whole_excerpts`.

S1 and S2 are those of arXiv:1605.09507v1. The journal version (IEEE/ACM TASLP 25(1), 2017) has
S2 and max; how many windows its maxima span is ours to choose: four, which are 2.5 s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from irdream.errors import InputError

Array = NDArray[np.floating]

AGGREGATIONS = ("s1", "s2", "max")
NETWORK = "network"
POOLED_WINDOWS = 4


def aggregate(window_scores: Sequence[Array], aggregation: str) -> Array:
    """Return the excerpts' scores (excerpts, instruments) by one of AGGREGATIONS.

    Args:
        window_scores: for each excerpt an array (windows, instruments), at least one window.
        aggregation: "s1", "s2" or "max", see the module.

    Raises:
        InputError: for another aggregation.
    """
    check_aggregation(aggregation)
    windows = (np.asarray(scores, float) for scores in window_scores)
    if aggregation == "max":
        windows = map(_local_maxima, windows)
    means = np.stack([scores.mean(axis=0) for scores in windows])
    return means if aggregation == "s1" else _divide_by_maximum(means)


def check_aggregation(aggregation: str, allowed: Sequence[str] = AGGREGATIONS) -> None:
    """Raise InputError unless `aggregation` is one of these."""
    if aggregation not in allowed:
        expected = " or ".join(repr(name) for name in allowed)
        raise InputError(f"unknown aggregation {aggregation!r}; expected {expected}")


def _local_maxima(scores: Array) -> Array:
    """Return the maxima over POOLED_WINDOWS windows in a row, or over all where there are fewer."""
    pooled = min(POOLED_WINDOWS, len(scores))
    return np.lib.stride_tricks.sliding_window_view(scores, pooled, axis=0).max(axis=-1)


def _divide_by_maximum(scores: Array) -> Array:
    # The sum over the windows is their mean times their number, which the division removes.
    maxima = scores.max(axis=1, keepdims=True)
    return np.divide(scores, maxima, out=np.zeros_like(scores), where=maxima > 0)
