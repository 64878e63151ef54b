import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from irdream.measures.recognition import (
    BINS,
    Report,
    instrument_scores,
    scores_of,
    temperature_scaled,
)
from irdream.measures.table import IRMAS_TEST_EXCERPTS, IRMAS_TEST_LABELS, PUBLISHED
from irdream.reports.figures import save_figure
from irdream.reports.recognition import (
    calibration_table,
    confusion_table,
    instrument_table,
    left_out,
    prediction_table,
    summary_table,
    write_report,
)
from irdream.reports.recognition_figures import confusion_figure, scores_figure
from irdream.reports.tables import rows_of

TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
SCORES = np.array(
    [[0.9, 0.1, 0.0], [0.6, 0.4, 0.2], [0.5, 0.6, 0.1], [0.9, 0.9, 0.9], [0.7, 0.2, 0.4]]
)
SCORED = [0, 1, 2, 4]  # the others have no label
ROBUSTNESS = pd.DataFrame(
    {
        "epsilon_db": [0.0, 1.0], "windows": 4, "recordings": 2, "top1": [1.0, 0.5],
        "low": [0.8, np.nan], "high": [1.0, np.nan], "steps": [0, 20],
    }
)  # fmt: skip


@pytest.fixture
def report() -> Report:
    s2 = SCORES / SCORES.max(axis=1, keepdims=True)
    return Report(
        dataset="toy, test part", instruments=("cel", "flu", "voi"),
        names=("first", "secönd, [flu]", "c", "d", "e"), truth=TRUTH,
        scores={"s1": SCORES, "s2": s2, "max": s2}, thresholds={"s1": 0.5, "s2": 0.9},
        chosen_on="validation", genres=("cla", "", "cla", "cla", "pop_roc"),
    )  # fmt: skip


@pytest.fixture
def with_temperature(report) -> Report:
    scores = temperature_scaled([row[None] for row in SCORES], 0.5, "sigmoid")
    return dataclasses.replace(report, temperature=0.5, temperature_scaled=scores)


def test_instruments_by_the_headline_and_by_others(report):
    table = instrument_table(report)
    expected = instrument_scores(TRUTH[SCORED], SCORES[SCORED] >= 0.5)
    np.testing.assert_allclose(table["f1"], expected["f1"])
    np.testing.assert_allclose(table["recall"], expected["recall"])
    assert table["name"].tolist() == ["cello", "flute", "voice"]
    assert table["labels"].tolist() == [3, 2, 0]
    assert table["predictions"].tolist() == [4, 1, 0]
    assert table["average_precision"].isna().tolist() == [False, False, True]
    assert instrument_table(report, "max", "oracle")["predictions"].tolist() != [4, 1, 0]


def test_summary_has_each_aggregation_and_threshold_beside_the_published(report):
    table = rows_of(summary_table(report), group="all")
    ours, published = table.iloc[:5], table.iloc[5:].set_index("system")
    assert ours["system"].tolist() == [
        "irdream (S1)", "irdream (S1, oracle threshold)", "irdream (S2)",
        "irdream (S2, oracle threshold)", "irdream (MAX, oracle threshold)",
    ]  # fmt: skip
    assert set(ours["data"]) == {"toy, test part"}
    assert (set(ours["excerpts"]), set(ours["labels"])) == ({4}, {5})
    expected = scores_of(TRUTH[SCORED], SCORES[SCORED], 0.5)
    assert ours.loc[0, list(expected)].to_dict() == pytest.approx(expected)
    assert ours.loc[0, "threshold"] == 0.5
    assert ours.loc[0, "lrap"] == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)
    bounds = [f"{name}_low" for name in ("micro_f1", "macro_f1", "top1", "lrap", "map")]
    assert ours[bounds].notna().all(axis=1).tolist() == [True, False, False, False, False]
    assert ["upper bound" in note for note in ours["note"]] == [False, True, False, True, True]
    assert all("not comparable" in note and "without voi" in note for note in ours["note"])
    for row in PUBLISHED:
        assert published.loc[row.system, "data"] == "IRMAS test set"
        assert published.loc[row.system, "micro_f1"] == row.micro_f1
    assert pd.isna(published.loc["Zhong et al. 2023", "macro_f1"])


def test_intervals_say_how_many_recordings_were_drawn(report):
    assert summary_table(report).loc[0, "recordings"] == 4
    known = dataclasses.replace(report, recordings=("x", "x", "y", "y", "z"))
    assert summary_table(known).loc[0, "recordings"] == 3


def test_what_the_averages_leave_out_is_said(report):
    assert left_out(report) == ["macro averages and mAP without voi: no excerpt has this label"]
    assert left_out(dataclasses.replace(report, truth=np.ones((5, 3), bool))) == []
    labels = tuple(f"c{i}" for i in range(60))
    (line,) = left_out(dataclasses.replace(report, instruments=labels, truth=np.eye(5, 60) > 0))
    assert line.endswith("c53, c54, 5 more: no excerpt has this label")


def test_the_whole_irmas_test_set_is_comparable():
    count = IRMAS_TEST_EXCERPTS
    truth = np.zeros((count, 2), bool)
    truth[:, 0] = True
    truth[: IRMAS_TEST_LABELS - count, 1] = True
    whole = Report(
        dataset="irmas, test part", instruments=("cel", "flu"), names=("",) * count, truth=truth,
        scores={"s1": np.full((count, 2), 0.5)}, thresholds={"s1": 0.5},
    )  # fmt: skip
    assert whole.is_irmas_test
    truth[0] = False
    assert not dataclasses.replace(whole, truth=truth).is_irmas_test


def test_groups_by_number_of_labels_and_by_genre(report):
    table = summary_table(report).iloc[5:10]
    assert list(zip(table["group"], table["excerpts"], strict=True)) == [
        ("labels: 1", 3), ("labels: 2", 1), ("genre: cla", 2), ("genre: pop_roc", 1),
        ("genre: unknown", 1),
    ]  # fmt: skip
    table = table.set_index("group")
    # Of one label: a and e are right, b is taken for a cello: 2 hits, 3 labels, 3 predictions.
    assert table.loc["labels: 1", "micro_f1"] == pytest.approx(2 * 2 / 6)
    assert table.loc["labels: 1", "top1"] == pytest.approx(2 / 3)
    assert table.loc["labels: 2", ["micro_recall", "lrap"]].tolist() == [1, 1]
    assert np.isnan(table.loc["labels: 2", "top1"])
    assert table.loc["genre: cla", "labels"] == 3
    for genres in ((), ("",) * 5):
        groups = summary_table(dataclasses.replace(report, genres=genres))["group"]
        assert groups.unique().tolist() == ["all", "labels: 1", "labels: 2"]


def test_predictions_and_confusions(report):
    table = prediction_table(report)
    assert table.iloc[1].tolist() == ["secönd, [flu]", "flu", "cel", "cel", 0.6, 0.4, 0.2]
    assert table["predicted"].tolist() == ["cel", "cel", "cel;flu", "cel;flu;voi", "cel"]
    uses = ("training", "", "", "", "validation")
    seen = prediction_table(dataclasses.replace(report, seen=uses))
    assert seen["seen_in"].tolist() == list(uses)
    expected = {"label": ["cel", "flu", "voi"], "cel": [2, 1, 0], "flu": [0] * 3, "voi": [0] * 3}
    assert confusion_table(report).to_dict("list") == expected


def test_calibration_has_a_row_a_bin_of_each_curve(report, with_temperature):
    assert len(calibration_table(report)) == 2 * BINS
    table = calibration_table(with_temperature)
    assert table["temperature"].unique().tolist() == [1.0, 0.5]
    pairs = rows_of(table, temperature=1.0, of="pairs")
    assert pairs["count"].tolist() == [1, 2, 2, 0, 0, 2, 0, 1, 2, 0, 1, 0, 0, 1, 0]
    assert (pairs["low"].iloc[0], pairs["high"].iloc[-1]) == (0, 1)
    brier = np.square(SCORES[SCORED] - TRUTH[SCORED]).mean()
    assert pairs["brier"].unique() == pytest.approx([brier])
    assert pairs["ece"].unique() == pytest.approx([report.calibrations["s1"].pairs.ece])
    highest = rows_of(table, temperature=1.0, of="highest scores")
    assert sum(highest["count"].tolist()) == 3


@pytest.mark.parametrize("robustness", [None, pd.DataFrame(), ROBUSTNESS])
def test_files_of_a_report(report, robustness, tmp_path):
    paths = write_report(report, tmp_path / "run", robustness)
    names = ["scores.csv", "summary.csv", "predictions.csv", "confusion.csv", "calibration.csv"]
    names += ["robustness.csv"] if robustness is ROBUSTNESS else []
    assert [path.name for path in paths] == [*names, "scores.png", "confusion.png"]
    assert sorted((tmp_path / "run").iterdir()) == sorted(paths)
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    assert len(scores) == 5 * 3
    assert scores[["aggregation", "threshold_from"]].iloc[-1].tolist() == ["max", "oracle"]
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    assert len(summary) == 5 + 5 + len(PUBLISHED)


# Figures


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    return "\n".join(found)


def legend(figure: Figure, place: int) -> list[str]:
    found = figure.axes[place].get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_scores_are_drawn_per_instrument_beside_the_published(report, monkeypatch):
    figure = scores_figure(report)
    drawn = [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore
    np.testing.assert_allclose(drawn, instrument_table(report)["f1"])
    written = texts(figure)
    for text in ("toy, test part: 4 excerpts, 5 labels", "cello (3)", "voice (0)", "irdream, S1"):
        assert text in written
    assert all(row.system in written for row in PUBLISHED)
    assert "not comparable" in written
    monkeypatch.setattr(Report, "is_irmas_test", True)
    assert "not comparable" not in texts(scores_figure(report))


def test_confusions_calibration_and_robustness_are_drawn(with_temperature):
    figure = confusion_figure(with_temperature, ROBUSTNESS)
    assert sum(int(text.get_text()) for text in figure.axes[0].texts) == 3
    assert "3 excerpts with one label, top-1 0.667" in texts(figure)
    ece = with_temperature.calibrations["s1"].pairs.ece
    labels = legend(figure, 1)
    assert labels[0] == f"S1, all scores: ECE {ece:.3f}"
    assert labels[2].startswith("temperature 0.50, all scores: ECE 0.")
    assert legend(figure, 2) == ["a guess"]
    assert len(confusion_figure(with_temperature).axes) == 2


@pytest.mark.parametrize("draw", [scores_figure, confusion_figure])
def test_figures_without_single_labels(draw, report, tmp_path):
    figure = draw(dataclasses.replace(report, truth=np.ones((5, 3), bool)))
    save_figure(figure, tmp_path / "figure.png")
    assert "nan" not in texts(figure)
