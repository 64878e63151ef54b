from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from irdream.measures.ranking import ranking

TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
SCORES = np.array([[0.9, 0.1, 0.3], [0.6, 0.4, 0.5], [0.2, 0.8, 0.1]])


def test_lrap_and_average_precision_by_hand():
    found = ranking(TRUTH, SCORES)
    # The second excerpt's label is third of three; cel has its labels at places 1 and 3.
    assert found.lrap == pytest.approx((1 + 1 / 3 + 1) / 3)
    np.testing.assert_allclose(found.precision, [(1 + 2 / 3) / 2, 1, np.nan])


def test_an_instrument_without_labels_is_left_out_of_map():
    found = ranking(TRUTH, SCORES)
    assert found.map == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    without = average_precision_score(TRUTH[:, :2], SCORES[:, :2], average="macro")
    assert found.map == pytest.approx(without)


def test_measures_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    truth = random.random((50, 11)) < 0.2
    truth[:, 3] |= ~truth.any(axis=1)
    scores = random.random((50, 11)).round(1)  # with ties
    found = ranking(truth, scores).measures()
    assert found["lrap"] == label_ranking_average_precision_score(truth, scores)
    assert found["map"] == pytest.approx(average_precision_score(truth, scores, average="macro"))
    assert found["map_micro"] == average_precision_score(truth, scores, average="micro")
