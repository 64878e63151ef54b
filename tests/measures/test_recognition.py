import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    label_ranking_average_precision_score,
    precision_recall_fscore_support,
)
from sklearn.metrics import log_loss as sklearn_log_loss

from irdream.measures.recognition import (
    BINS,
    HIGHEST,
    LOWEST,
    ORACLE,
    TALLIED,
    Calibration,
    Report,
    average_precision,
    choose_threshold,
    confusion,
    excerpt_lrap,
    fit_temperature,
    instrument_scores,
    log_loss,
    reliability,
    tallied,
    tallies,
    temperature_scaled,
)
from irdream.measures.scoring import aggregate


def flags(*rows: str) -> np.ndarray:
    """`flags("110", "001")`: a row an excerpt, a digit an instrument."""
    return np.array([[digit == "1" for digit in row] for row in rows])


def average_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    found = tallied(tallies(truth, predicted, predicted.astype(float)).sum(axis=0))
    return {name: float(value) for name, value in found.items() if name[0] == "m"}


# a: one hit, one miss, one false alarm. b: two hits. c: never labelled, one false alarm.
# d: labelled once, never predicted.
TRUTH = flags("1100", "1000", "0100", "0001")
PREDICTED = flags("1100", "0010", "0100", "1000")


def test_scores_by_hand():
    scores = instrument_scores(TRUTH, PREDICTED)
    for name in ("precision", "recall", "f1"):
        np.testing.assert_allclose(scores[name], [0.5, 1, 0, 0])
    np.testing.assert_array_equal(scores["labels"], [2, 2, 0, 1])
    averages = average_scores(TRUTH, PREDICTED)
    assert averages["micro_precision"] == pytest.approx(3 / 5)  # 3 hits of 5 predictions
    assert averages["micro_recall"] == pytest.approx(3 / 5)  # and of 5 labels
    assert averages["macro_f1"] == pytest.approx((0.5 + 1 + 0) / 3)  # c does not occur
    nothing = average_scores(TRUTH, np.zeros_like(TRUTH))
    assert set(nothing.values()) == {0.0}


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (6, 4)), arrays(bool, (6, 4)))
def test_scores_are_those_of_scikit_learn(truth, predicted):
    truth[0, 0] = True
    present = np.flatnonzero(truth.any(axis=0))
    names, zero = ("precision", "recall", "f1"), {"zero_division": 0}
    each = precision_recall_fscore_support(truth, predicted, average=None, **zero)  # type: ignore
    found = instrument_scores(truth, predicted)
    for name, expected in zip((*names, "labels"), each, strict=True):
        np.testing.assert_allclose(found[name], np.asarray(expected))
    averages = average_scores(truth, predicted)
    for kind, labels in (("micro", None), ("macro", present)):
        expected = precision_recall_fscore_support(
            truth,
            predicted,
            average=kind,
            labels=labels,
            **zero,  # type: ignore
        )
        found = [averages[f"{kind}_{name}"] for name in names]
        assert found == pytest.approx(expected[:3])


def test_choose_threshold_by_hand():
    scores = np.array([[0.9, 0.3], [0.2, 0.6], [0.35, 0.1]])
    threshold, f1 = choose_threshold(scores, flags("10", "01", "10"))
    assert f1 == 1.0
    assert 0.30 < threshold <= 0.35
    threshold, _ = choose_threshold(np.array([[0.8, 0.2]]), flags("10"))
    assert threshold == pytest.approx(0.51)  # all of 0.21 .. 0.80 are right; the middle one


def top1_accuracy(scores: np.ndarray, truth: np.ndarray) -> float:
    return float(tallied(tallies(truth, truth, scores).sum(axis=0))["top1"])


SCORES = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.2], [0.1, 0.2, 0.3], [0.5, 0.6, 0.1]])


def test_top1_and_confusion_are_over_single_labels():
    truth = flags("100", "010", "001", "110")
    assert top1_accuracy(SCORES, truth) == pytest.approx(2 / 3)
    expected = confusion_matrix([0, 1, 2], SCORES[:3].argmax(axis=1), labels=[0, 1, 2])
    np.testing.assert_array_equal(confusion(SCORES, truth), expected)
    several = flags("110", "011", "000", "111")
    assert np.isnan(top1_accuracy(SCORES, several))
    np.testing.assert_array_equal(confusion(SCORES, several), np.zeros((3, 3)))


# Rankings


def test_average_precision_and_lrap_by_hand():
    truth = flags("100", "010", "110")
    scores = np.array([[0.9, 0.1, 0.3], [0.6, 0.4, 0.5], [0.2, 0.8, 0.1]])
    # The second excerpt's label is third of three; the first instrument is at places 1 and 3.
    np.testing.assert_allclose(excerpt_lrap(truth, scores), [1, 1 / 3, 1])
    assert average_precision(truth[:, 0], scores[:, 0]) == pytest.approx([(1 + 2 / 3) / 2])
    assert excerpt_lrap(np.zeros((1, 3), bool), np.zeros((1, 3))) == 1.0


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores with many ties; the first instrument has no label, the last one a few."""
    random = np.random.default_rng(1)
    truth = random.random((60, 5)) < 0.25
    truth[:, 0] = False
    truth[:, 4] = np.arange(60) % 25 == 5
    truth[:, 1] |= ~truth.any(axis=1)
    return truth, (0.4 * truth + 0.6 * random.random(truth.shape)).round(1)


def test_average_precision_is_that_of_scikit_learn_for_rows_drawn_again(data):
    truth, scores = data[0][:, 1], data[1][:, 1]
    drawn = np.random.default_rng(0).integers(60, size=(30, 60))
    times = np.stack([np.bincount(one, minlength=60).astype(float) for one in drawn])
    expected = [average_precision_score(truth[one], scores[one]) for one in drawn]
    np.testing.assert_allclose(average_precision(truth, scores, times), expected)
    assert np.isnan(average_precision(truth, scores, 1 - truth[None, :])).all()


def toy(data: tuple[np.ndarray, np.ndarray], **changes) -> Report:
    truth, scores = data
    return Report(
        dataset="toy", instruments=tuple("abcde"), names=("",) * len(truth), truth=truth,
        scores={"s1": scores}, thresholds={"s1": 0.45}, **changes,
    )  # fmt: skip


def test_rankings_are_those_of_scikit_learn(data):
    truth, scores = data
    found = toy(data).headline
    assert found["lrap"] == pytest.approx(label_ranking_average_precision_score(truth, scores))
    each = average_precision_score(truth[:, 1:], scores[:, 1:], average="macro")
    assert found["map"] == pytest.approx(each)
    micro = average_precision_score(truth, scores, average="micro")
    assert found["map_micro"] == pytest.approx(micro)


def direct(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    averages = average_scores(truth, scores >= 0.45)
    present = truth.any(axis=0)
    single = [(scores[i], truth[i].argmax()) for i in np.flatnonzero(truth.sum(axis=1) == 1)]
    return {
        "micro_f1": averages["micro_f1"],
        "macro_f1": averages["macro_f1"],
        "top1": float(np.mean([row.argmax() == label for row, label in single])),
        "lrap": float(label_ranking_average_precision_score(truth, scores)),
        "map": float(average_precision_score(truth[:, present], scores[:, present])),
    }


@pytest.mark.parametrize("each", [1, 3])
def test_intervals_are_those_of_the_bootstrap_of_the_rows(data, each, draws, plain_bootstrap):
    draws(30)
    groups = tuple(f"{i // each}" for i in range(60))
    found = toy(data, recordings=groups).intervals
    of_rows = functools.cache(lambda rows: direct(*(x[list(rows)] for x in data)))
    for name in (*TALLIED, "map"):
        expected = plain_bootstrap(lambda rows, name=name: of_rows(tuple(rows))[name], groups)
        assert found[name] == pytest.approx(expected), name


def test_intervals_of_what_is_not_defined(data):
    truth = np.ones((2, 5), bool)
    found = toy((truth, truth.astype(float))).intervals
    assert np.isnan(found["top1"]).all()
    assert found["micro_f1"] == (1, 1, 1)
    one = toy(data, recordings=("x",) * 60).intervals
    assert all(np.isnan(interval.low) for interval in one.values())


# Reports


def report(truth: np.ndarray, **changes) -> Report:
    windows = [row[None] for row in SCORES]
    others = {
        "scores": {by: aggregate(windows, by) for by in ("s1", "s2")},
        "thresholds": {"s1": 0.35, "s2": 0.95},
        **changes,
    }
    return Report(
        dataset="toy", instruments=("cel", "cla", "flu"), names=("a", "b", "c", "d"), truth=truth,
        **others,
    )  # fmt: skip


TWO_LABELS = flags("100", "010", "001", "110")


def test_metrics_by_hand():
    metrics = report(TWO_LABELS).metrics()
    # S1 at 0.35 says 100, 110, 000, 110: 4 hits of 5 predictions and of 5 labels.
    assert metrics["eval/micro_f1"] == pytest.approx(0.8)
    assert metrics["eval/s1_micro_f1"] == metrics["eval/micro_f1"]
    # S2 at 0.95 says the highest: 100, 100, 001, 010: 3 hits of 4 predictions and 5 labels.
    assert metrics["eval/s2_micro_f1"] == pytest.approx(2 * 3 / 9)
    assert metrics["eval/top1"] == pytest.approx(2 / 3)
    assert metrics["eval/threshold"] == 0.35
    assert metrics["eval/excerpts"] == 4
    # At 0.3 all five labels are found, with one more.
    assert metrics["eval/oracle_micro_f1"] == pytest.approx(10 / 11)
    assert metrics["eval/lrap"] == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)
    # cel and cla: first and third of their columns; flu: first.
    assert metrics["eval/map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1) / 3)
    assert metrics["eval/brier"] == pytest.approx(np.square(SCORES - TWO_LABELS).mean())
    assert 0 < metrics["eval/ece"] < 1
    assert not any("temper" in name for name in metrics)
    for name in ("micro_f1", "macro_f1", "top1", "lrap", "map"):
        bounds = [metrics[f"eval/{name}{end}"] for end in ("_low", "", "_high")]
        assert bounds == sorted(bounds)
    assert not any(np.isnan(x) for x in metrics.values())


def test_metrics_leave_out_what_is_not_known():
    scores = {by: aggregate([row[None] for row in SCORES], by) for by in ("s1", "s2", "max")}
    truth = flags("110", "011", "101", "110")
    metrics = report(truth, thresholds={"s1": 0.35}, scores=scores).metrics()
    assert "eval/top1" not in metrics
    assert not any(name.startswith(("eval/s2", "eval/max")) for name in metrics)
    assert "eval/oracle_max_micro_f1" in metrics


def test_unlabelled_excerpts_are_not_scored():
    scored = report(flags("100", "000", "001", "000"))
    assert scored.metrics()["eval/excerpts"] == 2
    assert scored.headline["top1"] == 1.0
    assert len(scored.predicted) == 4


def test_every_aggregation_has_an_oracle_beside_its_threshold():
    found = report(TWO_LABELS)
    assert list(found.settings) == [
        ("s1", "given"), ("s1", ORACLE), ("s2", "given"), ("s2", ORACLE)
    ]  # fmt: skip
    metrics = found.metrics()
    for by in ("s1", "s2"):
        best = choose_threshold(found.scored(by), found.scored_truth)
        known = (metrics[f"eval/oracle_{by}_threshold"], metrics[f"eval/oracle_{by}_micro_f1"])
        assert known == pytest.approx(best)
        assert known[1] >= metrics[f"eval/{by}_micro_f1"]


def test_metrics_at_a_temperature():
    plain = report(TWO_LABELS)
    scaled = temperature_scaled([row[None] for row in SCORES], 2.0, "sigmoid")
    found = dataclasses.replace(plain, temperature=2.0, temperature_scaled=scaled).metrics()
    assert found["eval/temperature"] == 2.0
    assert found["eval/temperature_scaled_brier"] != found["eval/brier"]
    assert found["eval/micro_f1"] == plain.metrics()["eval/micro_f1"]


def test_recordings_are_drawn_whole():
    alone, together = report(TWO_LABELS), report(TWO_LABELS, recordings=("x", "x", "", ""))
    assert together.groups == ["x", "x", "excerpt 2", "excerpt 3"]
    one, other = (found.intervals["micro_f1"] for found in (alone, together))
    assert one.estimate == other.estimate
    assert one != other


# Calibration


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
