from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from irdream.measures.aggregation import aggregate
from irdream.measures.calibration import temperature_scaled
from irdream.measures.recognition import (
    THRESHOLDS,
    Report,
    average_scores,
    choose_threshold,
    confusion,
    instrument_scores,
    predict,
    recognition_intervals,
    top1_accuracy,
)


def flags(*rows: str) -> np.ndarray:
    """`flags("110", "001")`: a row an excerpt, a digit an instrument."""
    return np.array([[digit == "1" for digit in row] for row in rows])


def test_a_score_at_the_threshold_is_predicted():
    np.testing.assert_array_equal(predict(np.array([[0.2, 0.5, 0.51]]), 0.5), flags("011"))


# a: one hit, one miss, one false alarm. b: two hits. c: never labelled, one false alarm.
# d: labelled once, never predicted.
TRUTH = flags("1100", "1000", "0100", "0001")
PREDICTED = flags("1100", "0010", "0100", "1000")


def test_scores_per_instrument_by_hand():
    scores = instrument_scores(TRUTH, PREDICTED)
    np.testing.assert_allclose(scores.precision, [0.5, 1, 0, 0])
    np.testing.assert_allclose(scores.recall, [0.5, 1, 0, 0])
    np.testing.assert_allclose(scores.f1, [0.5, 1, 0, 0])
    np.testing.assert_array_equal(scores.support, [2, 2, 0, 1])


def test_averages_by_hand():
    averages = average_scores(TRUTH, PREDICTED)
    assert averages["micro_precision"] == pytest.approx(3 / 5)  # 3 hits of 5 predictions
    assert averages["micro_recall"] == pytest.approx(3 / 5)  # and of 5 labels
    assert averages["micro_f1"] == pytest.approx(3 / 5)
    assert averages["macro_f1"] == pytest.approx((0.5 + 1 + 0) / 3)  # c does not occur


def test_nothing_predicted_scores_zero_without_a_warning():
    assert average_scores(TRUTH, np.zeros_like(TRUTH)) == dict.fromkeys(
        [f"{kind}_{x}" for kind in ("micro", "macro") for x in ("precision", "recall", "f1")], 0.0
    )


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (6, 4)), arrays(bool, (6, 4)))
def test_micro_f1_is_twice_the_hits_over_labels_and_predictions(truth, predicted):
    truth[0, 0] = True
    hits = (truth & predicted).sum()
    expected = 2 * hits / (truth.sum() + predicted.sum())
    assert average_scores(truth, predicted)["micro_f1"] == pytest.approx(expected)


def test_choose_threshold_by_hand():
    scores = np.array([[0.9, 0.3], [0.2, 0.6], [0.35, 0.1]])
    threshold, f1 = choose_threshold(scores, flags("10", "01", "10"))
    assert f1 == 1.0
    assert 0.30 < threshold <= 0.35


def test_of_equal_thresholds_the_middle_one():
    threshold, _ = choose_threshold(np.array([[0.8, 0.2]]), flags("10"))
    assert threshold == pytest.approx(0.51)  # all of 0.21 .. 0.80 are right


@settings(max_examples=20, deadline=None)
@given(arrays(float, (5, 3), elements=st.floats(0, 1)), arrays(bool, (5, 3)))
def test_no_threshold_is_better_than_the_chosen_one(scores, truth):
    truth[0, 0] = True
    tried = THRESHOLDS[::11]
    threshold, best = choose_threshold(scores, truth, thresholds=tried)
    f1 = {t: average_scores(truth, predict(scores, t))["micro_f1"] for t in tried}
    assert best == max(f1.values()) == f1[threshold]


SCORES = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.2], [0.1, 0.2, 0.3], [0.5, 0.6, 0.1]])


def test_top1_and_confusion_are_over_single_labels():
    truth = flags("100", "010", "001", "110")
    assert top1_accuracy(SCORES, truth) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(confusion(SCORES, truth), [[1, 0, 0], [1, 0, 0], [0, 0, 1]])


def test_top1_without_single_labels():
    truth = flags("110", "011", "000", "111")
    assert np.isnan(top1_accuracy(SCORES, truth))
    np.testing.assert_array_equal(confusion(SCORES, truth), np.zeros((3, 3)))


def report(truth: np.ndarray, **changes) -> Report:
    windows = [row[None] for row in SCORES]
    scores = {by: aggregate(windows, by) for by in ("s1", "s2")}
    others = {"thresholds": {"s1": 0.35, "s2": 0.95}, "aggregation": "s1", **changes}
    return Report(
        dataset="toy", instruments=("cel", "cla", "flu"), names=("a", "b", "c", "d"), truth=truth,
        scores=scores, **others,
    )  # fmt: skip


def test_metrics_by_hand():
    metrics = report(flags("100", "010", "001", "110")).metrics()
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
    assert metrics["eval/oracle_micro_f1"] >= metrics["eval/micro_f1"]


def test_metrics_by_s2():
    metrics = report(flags("100", "010", "001", "110"), aggregation="s2").metrics()
    assert metrics["eval/micro_f1"] == metrics["eval/s2_micro_f1"]
    assert metrics["eval/threshold"] == 0.95


def test_metrics_leave_out_what_is_not_known():
    metrics = report(flags("110", "011", "101", "110"), thresholds={"s1": 0.35}).metrics()
    assert "eval/top1" not in metrics
    assert not any(name.startswith("eval/s2") for name in metrics)


def test_unlabelled_excerpts_are_not_scored():
    scored = report(flags("100", "000", "001", "000"))
    assert scored.metrics()["eval/excerpts"] == 2
    assert scored.top1 == 1.0
    assert len(scored.predicted) == 4


TWO_LABELS = flags("100", "010", "001", "110")


def test_every_aggregation_has_an_oracle_beside_its_threshold():
    found = report(TWO_LABELS)
    assert set(found.oracle) == {"s1", "s2"}
    assert found.averages["oracle"] == found.oracle["s1"]
    metrics = found.metrics()
    for by in ("s1", "s2"):
        best = choose_threshold(found.scored(by), found.scored_truth)
        known = (metrics[f"eval/oracle_{by}_threshold"], metrics[f"eval/oracle_{by}_micro_f1"])
        assert known == pytest.approx(best)
        assert known[1] >= metrics[f"eval/{by}_micro_f1"]


def test_a_report_by_max_without_a_threshold_of_it():
    scores = {by: aggregate([row[None] for row in SCORES], by) for by in ("s1", "s2", "max")}
    found = report(TWO_LABELS, thresholds={"s1": 0.35})
    metrics = Report(**{**vars_of(found), "scores": scores}).metrics()
    assert "eval/oracle_max_micro_f1" in metrics
    assert "eval/max_micro_f1" not in metrics


def vars_of(found: Report) -> dict:
    return {name: getattr(found, name) for name in Report.__dataclass_fields__}


def test_metrics_of_rankings_and_calibration_by_hand():
    metrics = report(TWO_LABELS).metrics()
    assert metrics["eval/lrap"] == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)
    # cel and cla: first and third of their columns; flu: first.
    assert metrics["eval/map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1) / 3)
    expected = np.square(SCORES - TWO_LABELS).mean()
    assert metrics["eval/brier"] == pytest.approx(expected)
    assert 0 < metrics["eval/ece"] < 1
    assert not any("temper" in name for name in metrics)


def test_metrics_at_a_temperature():
    windows = [row[None] for row in SCORES]
    given = {"temperature": 2.0, "temperature_scaled": temperature_scaled(windows, 2.0, "sigmoid")}
    metrics = report(TWO_LABELS, **given).metrics()
    assert metrics["eval/temperature"] == 2.0
    assert metrics["eval/temperature_scaled_brier"] != metrics["eval/brier"]
    assert metrics["eval/micro_f1"] == report(TWO_LABELS).metrics()["eval/micro_f1"]


def test_recordings_are_drawn_whole():
    alone = recognition_intervals(report(TWO_LABELS))
    together = recognition_intervals(report(TWO_LABELS, recordings=("x", "x", "", "")))
    assert report(TWO_LABELS, recordings=("x", "x", "", "")).groups == [
        "x", "x", "excerpt 2", "excerpt 3"
    ]  # fmt: skip
    assert alone["micro_f1"].estimate == together["micro_f1"].estimate
    assert alone["micro_f1"] != together["micro_f1"]
    one = recognition_intervals(report(TWO_LABELS, recordings=("x",) * 4))
    assert np.isnan(one["top1"].low)


def test_metrics_hold_the_intervals():
    metrics = report(TWO_LABELS).metrics()
    for name in ("micro_f1", "macro_f1", "top1", "lrap"):
        assert metrics[f"eval/{name}_low"] <= metrics[f"eval/{name}"] <= 1
        assert metrics[f"eval/{name}_high"] >= metrics[f"eval/{name}"]
    assert not any(np.isnan(x) for x in metrics.values())
