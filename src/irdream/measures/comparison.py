"""Whether one recognizer scores better than another on the same excerpts.

Both tests are paired and take whole recordings. The interval of a difference is the percentile
bootstrap's; the p value is that of a permutation test, which swaps the answers on recordings (Good
2005; Yeh, COLING 2000; Phipson and Smyth 2010). Top-1 has McNemar's exact test, too, which takes
every excerpt for independent. Nothing is corrected for there being several measures.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge
from scipy.stats import binomtest

from irdream.errors import InputError
from irdream.instruments import in_words
from irdream.measures.bootstrap import bootstrap, numbered
from irdream.measures.recognition import TALLIED, Array, Report, tallied, tallies

PERMUTATIONS = 10_000
Permutations = Annotated[int, Ge(20)]  # with fewer no p is below 0.05
PERMUTATION, MCNEMAR = "paired permutation of recordings", "McNemar, exact"
COLUMNS = (
    "measure", "first_score", "second_score", "difference", "low", "high", "p_value", "test",
    "first_alone", "second_alone",
)  # fmt: skip
_SWAPS = 500  # at a time
_EQUAL = 1e-12  # differences that rounding makes of equal ones


def check_same_labels(first: Sequence[str], second: Sequence[str]) -> None:
    """Refuse to compare scores of different labels, with an InputError."""
    if list(first) != list(second):
        raise InputError(
            f"the first predicts {in_words(first)}, the second {in_words(second)}; scores can be "
            "compared where these are the same in the same order"
        )


def compare_reports(
    first: Report, second: Report, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> pd.DataFrame:
    """Compare two reports on the excerpts that both have, each by its own threshold.

    Returns `differences` behind the columns data, excerpts, recordings and aggregation; raises
    InputError for other instruments, or without an excerpt in common.
    """
    check_same_labels(first.instruments, second.instruments)
    places = {name: i for i, name in enumerate(second.names)}
    ours = [i for i in np.flatnonzero(first.labelled) if first.names[i] in places]
    theirs = [places[first.names[i]] for i in ours]
    if not ours:
        raise InputError(
            f"no excerpt of {first.dataset!r} was scored by both checkpoints; expected one or more"
        )
    one, other = (
        tallies(report.truth[at], report.predicted[at], report.scores[report.aggregation][at])
        for report, at in ((first, ours), (second, theirs))
    )
    groups = [first.groups[i] for i in ours]
    found = differences(one, other, groups, permutations=permutations, seed=seed)
    about = [first.dataset, len(groups), len(set(groups)), first.aggregation]
    for i, name in enumerate(("data", "excerpts", "recordings", "aggregation")):
        found.insert(i, name, about[i])
    return found


def differences(
    first: Array,
    second: Array,
    groups: Sequence[Hashable],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the differences of the measures TALLIED, first less second.

    `first` and `second` are `recognition.tallies` of the same excerpts in the same order, `groups`
    what each belongs to. A row a measure: measure, first_score, second_score, difference, low, high
    (of 95 %), p_value, test; and another one for top-1 by McNemar's test, whose columns first_alone
    and second_alone count the excerpts that only one gets right, if any excerpt has one label.
    """
    intervals = bootstrap(lambda times: _less(times @ first, times @ second), groups, seed=seed)
    swapped = _swapped(first, second, groups, permutations, seed)
    ours, theirs = tallied(first.sum(axis=0)), tallied(second.sum(axis=0))
    rows = []
    for name, interval in intervals.items():
        as_large = np.abs(swapped[name]) >= abs(interval.estimate) - _EQUAL
        p_value = (1 + as_large.sum()) / (1 + permutations)
        p_value = np.nan if np.isnan(interval.estimate) else p_value
        scores = float(ours[name]), float(theirs[name])
        rows.append([name, *scores, *interval, p_value, PERMUTATION, np.nan, np.nan])
    (right, single), others_right = first[:, -4:-2].T > 0, second[:, -4] > 0
    if single.any():
        alone = [int((right & ~others_right).sum()), int((others_right & ~right).sum())]
        p_value = binomtest(alone[0], sum(alone), 0.5).pvalue if sum(alone) else 1.0
        rows.append([*rows[TALLIED.index("top1")][:6], float(p_value), MCNEMAR, *alone])
    return pd.DataFrame(rows, columns=COLUMNS)


def _less(ours: Array, theirs: Array) -> dict[str, Array]:
    first, second = tallied(ours), tallied(theirs)
    return {name: first[name] - second[name] for name in TALLIED}


def _swapped(
    first: Array, second: Array, groups: Sequence[Hashable], permutations: int, seed: int
) -> dict[str, Array]:
    """Return the differences when the tallies of whole groups are swapped at random."""
    numbers, count = numbered(groups)
    change = np.zeros((count, first.shape[1]))
    np.add.at(change, numbers, second - first)
    random, parts = np.random.default_rng(seed), []
    for begin in range(0, permutations, _SWAPS):
        is_swapped = random.random((min(_SWAPS, permutations - begin), count)) < 0.5
        moved = is_swapped.astype(float) @ change
        parts.append(_less(first.sum(axis=0) + moved, second.sum(axis=0) - moved))
    return {name: np.concatenate([part[name] for part in parts]) for name in TALLIED}
