import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from irdream.measures.recognition import (
    BINS,
    HIGHEST,
    LOWEST,
    Calibration,
    fit_temperature,
    log_loss,
    reliability,
    temperature_scaled,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_ece_by_hand():
    truth = np.array([True, False, True, True])
    scores = np.array([0.55, 0.55, 0.95, 0.85])
    found = reliability(truth, scores, bins=2)
    np.testing.assert_array_equal(found.counts, [0, 4])
    assert found.ece == pytest.approx(abs(3 / 4 - 2.9 / 4))
    found = reliability(truth, scores, bins=10)  # 0.55 0.55 | 0.85 | 0.95
    assert found.ece == pytest.approx(2 / 4 * 0.05 + 1 / 4 * 0.15 + 1 / 4 * 0.05)


def test_bins_are_fifteen_of_equal_width_and_hold_their_upper_ends():
    found = reliability(np.ones(3, bool), np.array([0.0, 1 / 15, 1.0]))
    assert len(found.counts) == BINS == 15
    assert (found.counts[0], found.counts[-1]) == (2, 1)
    assert np.isnan([found.scores[1], found.shares[1]]).all()


def test_the_curve_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    scores = random.random(500)
    truth = random.random(500) < scores**2
    found = reliability(truth, scores)
    shares, means = calibration_curve(truth, scores, n_bins=BINS)
    np.testing.assert_allclose(found.shares, shares)
    np.testing.assert_allclose(found.scores, means)


def test_brier_and_loss_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    truth, scores = random.random((40, 3)) < 0.4, random.random((40, 3))
    brier = brier_score_loss(truth.ravel(), scores.ravel())
    assert Calibration.of(truth, scores).brier == pytest.approx(brier)
    loss = sklearn_log_loss(truth.ravel(), scores.ravel())
    assert log_loss(truth, scores) == pytest.approx(loss)


def test_top1_calibration_is_over_excerpts_with_one_label():
    truth = np.array([[1, 0], [0, 1], [1, 1]], bool)
    found = Calibration.of(truth, np.array([[0.8, 0.2], [0.7, 0.3], [0.9, 0.9]]))
    assert found.top1.counts.sum() == 2
    assert found.measures()["top1_ece"] == pytest.approx((0.2 + 0.7) / 2)
    assert np.isnan(Calibration.of(truth[2:], np.ones((1, 2))).top1.ece)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_scaled_scores_are_those_of_divided_logits(output):
    logits = np.random.default_rng(0).normal(size=(2, 3, 4)) * 2
    score = softmax if output == "softmax" else lambda x: 1 / (1 + np.exp(-x))
    expected = score(logits / 2.5).mean(axis=1)
    found = temperature_scaled(list(score(logits)), 2.5, output)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(
        temperature_scaled(list(score(logits)), 1.0, output), score(logits).mean(1)
    )
    windows = [np.full((n, 2), 0.5, np.float32) for n in (1, 4, 2)]
    assert temperature_scaled(windows, 3.0, output).shape == (3, 2)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(output, temperature):
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 3)) * 2
    if output == "softmax":
        labels = [random.choice(3, p=p) for p in softmax(logits)]
        truth, scores = np.eye(3, dtype=bool)[labels], softmax(logits * temperature)
    else:
        truth = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
        scores = 1 / (1 + np.exp(-logits * temperature))
    windows = list(scores[:, None])

    found = fit_temperature(truth, windows, output)

    assert found == pytest.approx(temperature, rel=0.1)
    best = log_loss(truth, temperature_scaled(windows, found, output))
    for other in (0.9 * found, 1.1 * found):
        assert best <= log_loss(truth, temperature_scaled(windows, other, output))


def test_scores_of_zero_and_one_have_a_temperature_within_the_ends():
    truth = np.eye(3, dtype=bool)
    windows = [row[None].astype(np.float32) for row in truth]
    for output in ("softmax", "sigmoid"):
        assert LOWEST <= fit_temperature(truth, windows, output) <= HIGHEST
    wrong = fit_temperature(truth, [row[:, ::-1] for row in windows], "sigmoid")
    assert np.isfinite(temperature_scaled(windows, wrong, "sigmoid")).all()
