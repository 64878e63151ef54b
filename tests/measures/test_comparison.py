import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from irdream.errors import InputError
from irdream.measures.comparison import MCNEMAR, compare_reports, differences
from irdream.measures.recognition import TALLIED, Report, tallies


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


def row(table: pd.DataFrame, measure: str) -> dict[str, Any]:
    """Return the first row of a measure, which is that of the permutation test."""
    return next(one for one in table.to_dict("records") if one["measure"] == measure)


def test_equal_recognizers_do_not_differ(truth):
    scores = noisy(truth, [1, 2])
    table = compare_reports(report(scores, truth), report(scores, truth), permutations=50)
    assert table["measure"].tolist() == [*TALLIED, "top1"]
    assert not table[["difference", "low", "high"]].to_numpy().any()
    assert table["p_value"].tolist() == [1] * 5
    assert (table["excerpts"].iloc[0], table["recordings"].iloc[0]) == (30, 30)


def test_the_p_value_is_that_of_all_swaps(truth):
    first, second = noisy(truth[:8], [0]), noisy(truth[:8], [1, 2, 3, 4, 5])
    one, other = (tallies(truth[:8], x >= 0.5, x) for x in (first, second))
    found = row(differences(one, other, range(8), permutations=20_000), "micro_f1")

    def difference(swap: np.ndarray) -> float:
        sides = [np.where(swap[:, None], b, a) for a, b in ((first, second), (second, first))]
        ours, theirs = (f1_score(truth[:8], x >= 0.5, average="micro") for x in sides)
        return ours - theirs

    swaps = [np.array(swap) for swap in itertools.product([False, True], repeat=8)]
    observed = abs(difference(np.zeros(8, bool)))
    exact = np.mean([abs(difference(swap)) >= observed - 1e-12 for swap in swaps])
    assert 0.01 < exact < 0.9
    assert found["p_value"] == pytest.approx(exact, abs=0.015)


def test_whole_recordings_are_swapped(truth):
    recordings = tuple("one" if i < 10 else str(i) for i in range(30))
    tables = [
        compare_reports(
            report(noisy(truth, []), truth, recordings=known),
            report(noisy(truth, [*range(10)]), truth, recordings=known),
            permutations=400,
        )
        for known in (recordings, ())
    ]
    assert tables[0]["recordings"].iloc[0] == 21
    assert tables[0]["p_value"].iloc[0] == 1  # all of it is one recording
    assert tables[1]["p_value"].iloc[0] < 0.02


def test_only_labelled_excerpts_that_both_were_scored_on_are_compared(truth):
    truth[0] = False
    kept = [*range(20)][::-1]
    names = tuple(f"excerpt {i}" for i in kept)
    second = report(noisy(truth, [5])[kept], truth[kept], names=names)
    top1 = row(compare_reports(report(noisy(truth, []), truth), second, permutations=50), "top1")
    assert top1["excerpts"] == 19
    assert (top1["first_score"], top1["second_score"]) == (1, pytest.approx(18 / 19))


def test_mcnemar_is_the_exact_binomial_test():
    truth = np.eye(3, dtype=bool)[np.zeros(12, int)]
    first, second = np.where(truth, 0.9, 0.1), np.where(truth, 0.9, 0.1)
    first[0], second[1:9] = [0, 1, 0], [0, 1, 0]
    one, other = (tallies(truth, x >= 0.5, x) for x in (first, second))
    found = differences(one, other, range(12), permutations=20).iloc[-1]
    assert (found["test"], found["measure"]) == (MCNEMAR, "top1")
    assert (found["first_alone"], found["second_alone"]) == (8, 1)
    assert found["p_value"] == pytest.approx(20 / 512)  # 2 (1 + 9) / 2^9
    assert found["p_value"] == pytest.approx(binomtest(1, 9).pvalue)


def test_without_single_labels_there_is_no_top1(truth):
    truth |= np.roll(truth, 1, axis=1)
    table = compare_reports(report(noisy(truth, []), truth), report(noisy(truth, [0]), truth))
    assert table["measure"].tolist() == [*TALLIED]
    top1 = row(table, "top1")
    for name in ("first_score", "difference", "low", "high", "p_value"):
        assert np.isnan(top1[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"instruments": ("cel", "flu", "cla")},
            r"the first predicts cel \(cello\), cla .*, the second cel .*, flu .* in the same",
        ),
        ({"names": ("x",) * 30}, "no excerpt of 'toy, test part' was scored by both checkpoi"),
    ],
    ids=["instruments", "excerpts"],
)  # fmt: skip
def test_what_cannot_be_compared(truth, changes, message):
    one, other = report(noisy(truth, []), truth), report(noisy(truth, []), truth, **changes)
    with pytest.raises(InputError, match=message):
        compare_reports(one, other)
