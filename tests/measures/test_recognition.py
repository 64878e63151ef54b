import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    label_ranking_average_precision_score,
    precision_recall_fscore_support,
)

from irdream.measures.recognition import (
    ORACLE,
    TALLIED,
    Report,
    average_precision,
    choose_threshold,
    confusion,
    excerpt_lrap,
    instrument_scores,
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
