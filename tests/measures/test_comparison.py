from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from irdream.errors import InputError
from irdream.measures.comparison import compare_reports, differences, mcnemar
from irdream.measures.recognition import Report, average_scores
from irdream.measures.tallies import MEASURES, Tallies


def report(scores: np.ndarray, truth: np.ndarray, **changes) -> Report:
    names = tuple(f"excerpt {i}" for i in range(len(truth)))
    given = {"instruments": ("cel", "cla", "flu"), "names": names, **changes}
    return Report(
        dataset="toy, test part", truth=truth, scores={"s1": scores}, thresholds={"s1": 0.5},
        **given,
    )  # fmt: skip


@pytest.fixture
def truth() -> np.ndarray:
    return np.eye(3, dtype=bool)[np.arange(30) % 3]


def noisy(truth: np.ndarray, wrong: list[int]) -> np.ndarray:
    """Return scores that are right but for these excerpts."""
    scores = np.where(truth, 0.9, 0.1)
    scores[wrong] = np.roll(scores[wrong], 1, axis=1)
    return scores


def test_equal_recognizers_do_not_differ(truth):
    scores = noisy(truth, [1, 2])
    found = compare_reports(report(scores, truth), report(scores, truth), permutations=50)
    for one in found.differences:
        assert (*one.difference, one.p_value) == (0, 0, 0, 1)
    assert found.mcnemar is not None
    assert found.mcnemar.p_value == 1
    assert (found.excerpts, found.groups) == (30, 30)


def test_a_much_better_recognizer_differs_in_every_measure(truth):
    first, second = report(noisy(truth, []), truth), report(noisy(truth, [*range(15)]), truth)
    found = compare_reports(first, second, permutations=400)
    assert [one.measure for one in found.differences] == list(MEASURES)
    for one in found.differences:
        assert one.p_value < 0.01
        assert one.difference.estimate == pytest.approx(one.first - one.second)
        assert 0 < one.difference.low < one.difference.estimate < one.difference.high
    back = compare_reports(second, first, permutations=400)
    for one, other in zip(found.differences, back.differences, strict=True):
        assert other.difference.estimate == -one.difference.estimate
        assert other.difference.low == pytest.approx(-one.difference.high, abs=0.05)


def test_the_p_value_is_that_of_all_swaps(truth):
    first, second = noisy(truth[:8], [0]), noisy(truth[:8], [1, 2, 3, 4, 5])
    one, other = (Tallies.of(truth[:8], x >= 0.5, x) for x in (first, second))
    found = {x.measure: x for x in differences(one, other, range(8), permutations=20_000)}

    def difference(swap: np.ndarray) -> float:
        sides = [np.where(swap[:, None], b, a) for a, b in ((first, second), (second, first))]
        ours, theirs = (average_scores(truth[:8], x >= 0.5)["micro_f1"] for x in sides)
        return ours - theirs

    swaps = [np.array(swap) for swap in itertools.product([False, True], repeat=8)]
    observed = abs(difference(np.zeros(8, bool)))
    exact = np.mean([abs(difference(swap)) >= observed - 1e-12 for swap in swaps])
    assert 0.01 < exact < 0.9
    assert found["micro_f1"].p_value == pytest.approx(exact, abs=0.015)


def test_without_a_difference_p_values_are_spread_evenly():
    random, p_values = np.random.default_rng(0), []
    for _ in range(200):
        truth = np.eye(4, dtype=bool)[random.integers(4, size=40)]
        sides = [truth * 0.3 + random.random(truth.shape) for _ in range(2)]
        one, other = (Tallies.of(truth, x >= 0.8, x) for x in sides)
        found = differences(one, other, range(40), permutations=200, resamples=1)
        p_values.append(found[0].p_value)
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=0.09)


def test_whole_recordings_are_swapped(truth):
    wrong = [*range(10)]
    recordings = tuple("one" if i < 10 else str(i) for i in range(30))
    first = report(noisy(truth, []), truth, recordings=recordings)
    second = report(noisy(truth, wrong), truth, recordings=recordings)
    found = compare_reports(first, second, permutations=400)
    assert found.groups == 21
    assert found.differences[0].p_value == 1  # all of it is one recording
    assert compare_reports(
        report(noisy(truth, []), truth), report(noisy(truth, wrong), truth), permutations=400
    ).differences[0].p_value < 0.02  # fmt: skip


def test_only_labelled_excerpts_that_both_heard_are_compared(truth):
    truth[0] = False
    first = report(noisy(truth, []), truth)
    kept = [*range(20)][::-1]
    names = tuple(f"excerpt {i}" for i in kept)
    second = report(noisy(truth, [5])[kept], truth[kept], names=names)
    found = compare_reports(first, second, permutations=50)
    assert found.excerpts == 19
    top1 = next(one for one in found.differences if one.measure == "top1")
    assert (top1.first, top1.second) == (1, pytest.approx(18 / 19))


def test_mcnemar_is_the_exact_binomial_test():
    truth = np.eye(3, dtype=bool)[np.zeros(12, int)]
    right = np.where(truth, 0.9, 0.1)
    first, second = right.copy(), right.copy()
    first[0], second[1:9] = [0, 1, 0], [0, 1, 0]
    found = mcnemar(*(Tallies.of(truth, x >= 0.5, x) for x in (first, second)))
    assert found is not None
    assert (found.first_alone, found.second_alone) == (8, 1)
    assert found.p_value == pytest.approx(20 / 512)  # 2 (1 + 9) / 2^9
    assert found.p_value == pytest.approx(binomtest(1, 9).pvalue)


def test_without_single_labels_there_is_no_top1(truth):
    truth |= np.roll(truth, 1, axis=1)
    found = compare_reports(report(noisy(truth, []), truth), report(noisy(truth, [0]), truth))
    assert found.mcnemar is None
    top1 = next(one for one in found.differences if one.measure == "top1")
    assert np.isnan([*top1.difference, top1.p_value]).all()


def test_what_cannot_be_compared(truth):
    one = report(noisy(truth, []), truth)
    with pytest.raises(InputError, match=r"instruments cel cla flu and cel flu cla cannot be"):
        compare_reports(one, report(noisy(truth, []), truth, instruments=("cel", "flu", "cla")))
    with pytest.raises(InputError, match=r"no excerpt of 'toy, test part' was heard by both"):
        compare_reports(one, report(noisy(truth, []), truth, names=("x",) * 30))
    with pytest.raises(InputError, match=r"compare.permutations=19; expected at least 20"):
        compare_reports(one, one, permutations=19)
