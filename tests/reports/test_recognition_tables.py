from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.axes import Axes

from irdream.measures.calibration import BINS, temperature_scaled
from irdream.measures.recognition import Report, average_scores, instrument_scores
from irdream.reports.figures import save_figure
from irdream.reports.recognition_tables import (
    aggregation_table,
    all_instruments_table,
    calibration_table,
    group_table,
    interval_table,
    left_out,
    reliability_table,
)
from irdream.reports.reliability_figure import reliability_figure
from irdream.reports.tables import rows_of

TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
SCORES = np.array(
    [[0.9, 0.1, 0.0], [0.6, 0.4, 0.2], [0.5, 0.6, 0.1], [0.9, 0.9, 0.9], [0.7, 0.2, 0.4]]
)


@pytest.fixture
def report() -> Report:
    s2 = SCORES / SCORES.max(axis=1, keepdims=True)
    return Report(
        dataset="toy, test part", instruments=("cel", "flu", "voi"), names=tuple("abcde"),
        truth=TRUTH, scores={"s1": SCORES, "s2": s2, "max": s2},
        thresholds={"s1": 0.5, "s2": 0.9}, chosen_on="validation",
        genres=("cla", "", "cla", "cla", "pop_roc"),
    )  # fmt: skip


def test_chosen_and_oracle_thresholds_stand_side_by_side(report):
    table = aggregation_table(report)
    rows = list(zip(table["aggregation"], table["threshold_from"], strict=True))
    assert rows == [
        ("s1", "validation"), ("s1", "oracle"), ("s2", "validation"), ("s2", "oracle"),
        ("max", "oracle"),
    ]  # fmt: skip
    expected = average_scores(TRUTH[[0, 1, 2, 4]], SCORES[[0, 1, 2, 4]] >= 0.5)
    assert table.loc[0, list(expected)].to_dict() == pytest.approx(expected)
    assert table.loc[0, "lrap"] == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)
    assert "upper bound" in table.loc[1, "note"]
    assert "upper bound" not in table.loc[0, "note"]


def test_what_the_averages_leave_out_is_said(report):
    assert left_out(report) == ["macro averages and mAP without voi: no excerpt has this label"]
    assert "without voi" in aggregation_table(report).loc[0, "note"]
    whole = dataclasses.replace(report, truth=np.ones((5, 3), bool))
    assert left_out(whole) == []


def test_instruments_by_every_aggregation_and_threshold(report):
    table = all_instruments_table(report)
    assert len(table) == 5 * 3
    chosen = rows_of(table, aggregation="s1", threshold_from="validation")
    expected = instrument_scores(TRUTH[[0, 1, 2, 4]], SCORES[[0, 1, 2, 4]] >= 0.5)
    np.testing.assert_allclose(chosen["f1"], expected.f1)
    np.testing.assert_allclose(chosen["recall"], expected.recall)
    assert chosen["labels"].tolist() == [3, 2, 0]
    assert chosen["predictions"].tolist() == [4, 1, 0]
    assert chosen["average_precision"].isna().tolist() == [False, False, True]


def test_groups_by_number_of_labels_and_by_genre(report):
    table = group_table(report)
    assert list(zip(table["by"], table["group"], table["excerpts"], strict=True)) == [
        ("labels", "1", 3), ("labels", "2", 1), ("genre", "cla", 2), ("genre", "pop_roc", 1),
        ("genre", "unknown", 1),
    ]  # fmt: skip
    table = table.set_index("group")
    # Of one label: a and e are heard rightly, b as a cello: 2 hits, 3 labels, 3 predictions.
    assert table.loc["1", "micro_f1"] == pytest.approx(2 * 2 / 6)
    assert table.loc["1", "top1"] == pytest.approx(2 / 3)
    assert table.loc["2", ["micro_recall", "lrap"]].tolist() == [1, 1]
    assert np.isnan(table.loc["2", "top1"])
    assert table.loc["cla", "labels"] == 3


def test_without_genres_there_are_no_rows_of_them(report):
    table = group_table(dataclasses.replace(report, genres=()))
    assert set(table["by"]) == {"labels"}
    assert set(group_table(dataclasses.replace(report, genres=("",) * 5))["by"]) == {"labels"}


def test_intervals_say_what_was_drawn(report):
    table = interval_table(report)
    assert table["measure"].tolist() == ["micro_f1", "macro_f1", "top1", "lrap", "map"]
    assert set(table["drawn"]) == {"excerpts"}
    table = interval_table(dataclasses.replace(report, recordings=("x", "x", "y", "y", "z")))
    assert (set(table["drawn"]), set(table["count"])) == ({"recordings"}, {3})


@pytest.fixture
def with_temperature(report) -> Report:
    scores = temperature_scaled([row[None] for row in SCORES], 0.5, "sigmoid")
    return dataclasses.replace(report, temperature=0.5, temperature_scaled=scores)


def test_calibration_has_a_row_for_the_temperature(report, with_temperature):
    assert calibration_table(report)["temperature"].tolist() == [1.0]
    table = calibration_table(with_temperature)
    assert table["temperature"].tolist() == [1.0, 0.5]
    assert table.loc[0, "pairs"] == 4 * 3
    expected = np.square(SCORES[[0, 1, 2, 4]] - TRUTH[[0, 1, 2, 4]]).mean()
    assert table.loc[0, "brier"] == pytest.approx(expected)
    assert table.loc[1, "brier"] != table.loc[0, "brier"]


def test_reliability_has_a_row_a_bin(with_temperature):
    table = reliability_table(with_temperature)
    assert len(table) == 4 * BINS
    pairs = rows_of(table, scores="s1", of="pairs")
    assert pairs["count"].tolist() == [1, 2, 2, 0, 0, 2, 0, 1, 2, 0, 1, 0, 0, 1, 0]
    assert pairs["low"].iloc[0] == 0
    assert pairs["high"].iloc[-1] == 1
    highest = rows_of(table, scores="s1", of="highest scores")
    assert sum(highest["count"].tolist()) == 3


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_the_figure_draws_both_curves(with_temperature, tmp_path):
    figure = reliability_figure(with_temperature)
    labels = legend(figure.axes[0])
    ece = with_temperature.calibrations["s1"].pairs.ece
    assert labels[0] == f"S1: ECE {ece:.3f}"
    assert labels[1].startswith("temperature 0.50: ECE 0.")
    save_figure(figure, tmp_path / "reliability.png")


def test_the_figure_without_single_labels(report, tmp_path):
    figure = reliability_figure(dataclasses.replace(report, truth=np.ones((5, 3), bool)))
    assert legend(figure.axes[1]) == ["S1: no such excerpt"]
    save_figure(figure, tmp_path / "reliability.png")
