from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from irdream.measures.recognition import average_scores, top1_accuracy
from irdream.measures.tallies import MEASURES, Tallies, excerpt_lrap, measures


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    truth = random.random((60, 5)) < 0.25
    truth[:, 4] |= ~truth.any(axis=1)
    truth[:, 0] = False  # an instrument that no excerpt has
    truth[:, 1] |= ~truth.any(axis=1)
    scores = (0.4 * truth + 0.6 * random.random(truth.shape)).round(2)
    return truth, scores >= 0.45, scores


def direct(truth, predicted, scores) -> dict[str, float]:
    averages = average_scores(truth, predicted)
    return {
        "micro_f1": averages["micro_f1"],
        "macro_f1": averages["macro_f1"],
        "top1": top1_accuracy(scores, truth),
        "lrap": float(label_ranking_average_precision_score(truth, scores)),
    }


def test_sums_give_what_the_rows_give(data):
    assert measures(Tallies.of(*data).total()) == pytest.approx(direct(*data))


def test_lrap_of_an_excerpt_is_that_of_scikit_learn(data):
    truth, _, scores = data
    each = [label_ranking_average_precision_score(truth[[i]], scores[[i]]) for i in range(60)]
    np.testing.assert_allclose(excerpt_lrap(truth, scores), each)
    assert excerpt_lrap(np.zeros((1, 3), bool), np.zeros((1, 3))) == 1.0


def test_intervals_are_those_of_the_bootstrap_of_the_rows(data, bootstrap):
    groups = [i // 3 for i in range(60)]
    found = Tallies.of(*data).intervals(groups, resamples=50, seed=3)
    for name in MEASURES:
        expected = bootstrap(
            lambda rows, name=name: direct(*(x[rows] for x in data))[name], groups, 50, seed=3
        )
        assert found[name] == pytest.approx(expected)


def test_without_a_single_label_there_is_no_top1():
    truth = np.array([[1, 1, 0], [0, 1, 1]], bool)
    tallies = Tallies.of(truth, truth, truth.astype(float))
    found = tallies.intervals(range(2), resamples=20)
    assert np.isnan(found["top1"]).all()
    assert found["micro_f1"] == (1, 1, 1)
    assert not tallies.single.any()


def test_right_and_single_rows():
    truth = np.array([[1, 0], [0, 1], [1, 1]], bool)
    tallies = Tallies.of(truth, truth, np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]))
    assert tallies.right.tolist() == [True, False, False]
    assert tallies.single.tolist() == [True, True, False]


@pytest.mark.slow
def test_the_intervals_of_the_irmas_test_set_take_seconds():
    random = np.random.default_rng(0)
    truth = random.random((2874, 11)) < 0.15
    scores = random.random(truth.shape)
    began = time.perf_counter()
    Tallies.of(truth, scores > 0.5, scores).intervals(range(2874))
    assert time.perf_counter() - began < 5
