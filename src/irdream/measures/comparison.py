"""Whether one recognizer scores better than another on the same excerpts.

The scores of two recognizers on one excerpt depend on each other, since some excerpts are hard
for both; so both tests are paired. The interval of a difference is the percentile bootstrap's:
recordings are drawn, the same for both. The p value is that of a permutation test: if the two
were alike, it would not matter which of them gave the answers on a recording, so these are
swapped at random, and p is the share of swaps with a difference at least as large, the one
measured counted in. Both take whole recordings, whose excerpts are alike.

Top-1 has McNemar's exact test, too: of the excerpts with one label that just one of the two
hears rightly, are as many right by the first as by the second? It takes every excerpt for
independent of the others. Nothing is corrected for there being several measures.

Sources: P. Good, "Permutation, parametric and bootstrap tests of hypotheses", 2005; A. Yeh, "More
accurate tests for the statistical significance of result differences", COLING 2000 (F1);
B. Phipson and G. Smyth, Stat. Appl. Genet. Mol. Biol. 9(1), 2010 (counting the one measured);
Q. McNemar, Psychometrika 12(2), 1947.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from irdream.errors import InputError
from irdream.measures.bootstrap import RESAMPLES, Interval, between
from irdream.measures.recognition import Report
from irdream.measures.tallies import MEASURES, Array, Tallies, measures

Flags = NDArray[np.bool_]

PERMUTATIONS = 10_000
LEAST_PERMUTATIONS = 20  # with fewer no p is below 0.05
_SWAPS = 500  # at a time
_EQUAL = 1e-12  # differences that rounding makes of equal ones


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A measure of two recognizers on the same excerpts.

    Attributes:
        measure: its name, one of `tallies.MEASURES`.
        first: of the first recognizer.
        second: of the second.
        difference: first less second, between 95 % bounds.
        p_value: of the paired permutation test, two-sided.
    """

    measure: str
    first: float
    second: float
    difference: Interval
    p_value: float


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """How many excerpts the first alone and the second alone hear rightly, and the p value."""

    first_alone: int
    second_alone: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was found on the excerpts that both recognizers heard.

    Attributes:
        excerpts: how many.
        groups: how many recordings they are from.
        differences: of each measure.
        mcnemar: of top-1; None when no excerpt has one label.
    """

    excerpts: int
    groups: int
    differences: tuple[Difference, ...]
    mcnemar: McNemar | None


def compare_reports(
    first: Report, second: Report, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Comparison:
    """Compare two reports on one part of one data set, each by its own threshold.

    Excerpts that only one of the two has are left out.

    Args:
        first: by its headline aggregation.
        second: of the same instruments.
        permutations: of the test.
        seed: of the draws and the swaps.

    Raises:
        InputError: other instruments; no excerpt in common; fewer than 20 permutations.
    """
    check_permutations(permutations)
    if first.instruments != second.instruments:
        raise InputError(
            f"instruments {' '.join(first.instruments)} and {' '.join(second.instruments)} cannot "
            "be compared; expected the same in the same order"
        )
    places = _in_common(first, second)
    one = _tallies(first, [i for i, _ in places])
    other = _tallies(second, [j for _, j in places])
    known = first.recordings or first.names
    groups = [known[i] or first.names[i] for i, _ in places]
    return Comparison(
        excerpts=len(places),
        groups=len(set(groups)),
        differences=differences(one, other, groups, permutations=permutations, seed=seed),
        mcnemar=mcnemar(one, other),
    )


def check_permutations(permutations: int) -> None:
    """Raise InputError unless there are enough permutations for a p value below 0.05."""
    if permutations < LEAST_PERMUTATIONS:
        raise InputError(
            f"compare.permutations={permutations}; expected at least {LEAST_PERMUTATIONS}, "
            f"better {PERMUTATIONS}"
        )


def _in_common(first: Report, second: Report) -> list[tuple[int, int]]:
    """Return the places of every labelled excerpt that both reports have."""
    others = {name: j for j, name in enumerate(second.names)}
    places = [
        (i, others[name])
        for i, name in enumerate(first.names)
        if first.labelled[i] and name in others
    ]
    if not places:
        raise InputError(
            f"no excerpt of {first.dataset!r} was heard by both checkpoints; expected one or more"
        )
    return places


def _tallies(report: Report, places: list[int]) -> Tallies:
    scores = report.scores[report.aggregation]
    return Tallies.of(report.truth[places], report.predicted[places], scores[places])


def differences(
    first: Tallies,
    second: Tallies,
    groups: Sequence[Hashable],
    *,
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Difference, ...]:
    """Return the difference of each measure, its interval and p value.

    Args:
        first: a row an excerpt.
        second: of the same excerpts in the same order.
        groups: what each excerpt belongs to.
        permutations: of the test.
        resamples: of the bootstrap.
        seed: of both.
    """
    one, other = first.by_group(groups), second.by_group(groups)
    ours, theirs = measures(one.total()), measures(other.total())
    drawn = [measures(tallies.resampled(resamples, seed)) for tallies in (one, other)]
    swapped = _swapped(one, other, permutations, seed)
    found = []
    for name in MEASURES:
        difference = float(ours[name] - theirs[name])
        spread = drawn[0][name] - drawn[1][name]
        found.append(
            Difference(
                measure=name,
                first=float(ours[name]),
                second=float(theirs[name]),
                difference=between(difference, spread, len(one.rows)),
                p_value=_p_value(difference, swapped[name]),
            )
        )
    return tuple(found)


def _swapped(one: Tallies, other: Tallies, permutations: int, seed: int) -> dict[str, Array]:
    """Return the differences of each measure when the rows of the two are swapped at random."""
    random, change = np.random.default_rng(seed), other.rows - one.rows
    total, parts = one.total() + other.total(), []
    for begin in range(0, permutations, _SWAPS):
        count = min(_SWAPS, permutations - begin)
        is_swapped = random.random((count, len(change))) < 0.5
        sums = one.total() + is_swapped.astype(float) @ change
        ours, theirs = measures(sums), measures(total - sums)
        parts.append({name: ours[name] - theirs[name] for name in MEASURES})
    return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}


def _p_value(difference: float, swapped: Array) -> float:
    if np.isnan(difference):
        return float("nan")
    as_large = np.abs(swapped) >= abs(difference) - _EQUAL
    return float((1 + as_large.sum()) / (1 + len(swapped)))


def mcnemar(first: Tallies, second: Tallies) -> McNemar | None:
    """Return McNemar's exact test of top-1, two-sided; None when no excerpt has one label."""
    if not first.single.any():
        return None
    first_alone = int((first.right & ~second.right).sum())
    second_alone = int((second.right & ~first.right).sum())
    apart = first_alone + second_alone
    p_value = float(binomtest(first_alone, apart, 0.5).pvalue) if apart else 1.0
    return McNemar(first_alone=first_alone, second_alone=second_alone, p_value=p_value)
