from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from irdream.evaluation.published import (
    IRMAS_TEST_EXCERPTS,
    IRMAS_TEST_LABELS,
    PUBLISHED,
    is_whole_irmas_test,
)
from irdream.evaluation.recognition import Report
from irdream.evaluation.tables import (
    confusion_table,
    instrument_table,
    prediction_table,
    save_table,
    summary_table,
)


@pytest.fixture
def report():
    scores = np.array([[0.9, 0.1], [0.6, 0.4]])
    return Report(
        dataset="toy, test part",
        instruments=("cel", "flu"),
        names=("first", "secönd, [flu]"),
        truth=np.array([[True, False], [False, True]]),
        scores={"s1": scores, "s2": scores / scores.max(axis=1, keepdims=True)},
        thresholds={"s1": 0.4, "s2": 0.9},
    )


def test_instrument_table(report):
    table = instrument_table(report).set_index("instrument")
    assert table.loc["cel"].tolist() == ["cello", 0.5, 1.0, pytest.approx(2 / 3), 1, 2]
    assert table.loc["flu"].tolist() == ["flute", 1.0, 1.0, 1.0, 1, 1]


def test_summary_sets_ours_beside_the_published_and_says_on_what(report):
    table = summary_table(report).set_index("system")
    ours = table.loc["irdream (S1)"]
    assert (ours["data"], ours["excerpts"], ours["threshold"]) == ("toy, test part", 2, 0.4)
    assert ours["micro_f1"] == pytest.approx(0.8)
    assert "not comparable" in ours["note"]
    assert "upper bound" in table.loc["irdream (S1, oracle threshold)", "note"]
    for row in PUBLISHED:
        assert table.loc[row.system, "data"] == "IRMAS test set"
        assert table.loc[row.system, "micro_f1"] == row.micro_f1
    assert pd.isna(table.loc["Zhong et al. 2023", "macro_f1"])


def test_the_whole_irmas_test_set_is_comparable():
    count = IRMAS_TEST_EXCERPTS
    truth = np.zeros((count, 2), bool)
    truth[:, 0] = True
    truth[: IRMAS_TEST_LABELS - count, 1] = True
    scores = np.full((count, 2), 0.5)
    whole = Report(
        dataset="irmas, test part", instruments=("cel", "flu"), names=("",) * count, truth=truth,
        scores={"s1": scores, "s2": scores}, thresholds={"s1": 0.5},
    )  # fmt: skip
    assert summary_table(whole).loc[0, "note"] == ""
    assert not is_whole_irmas_test(excerpts=count - 1, labels=IRMAS_TEST_LABELS)


def test_prediction_table(report):
    table = prediction_table(report)
    assert table.iloc[1].tolist() == ["secönd, [flu]", "flu", "cel flu", "cel", 0.6, 0.4]


def test_confusion_table(report):
    table = confusion_table(report)
    assert table.to_dict("list") == {"label": ["cel", "flu"], "cel": [1, 1], "flu": [0, 0]}


def test_saved_table_reads_back(report, tmp_path):
    path = tmp_path / "predictions.csv"
    save_table(prediction_table(report), path)
    pd.testing.assert_frame_equal(pd.read_csv(path), prediction_table(report))
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_no_folder_leaves_nothing(report, tmp_path):
    with pytest.raises(FileNotFoundError):
        save_table(prediction_table(report), tmp_path / "missing" / "predictions.csv")
    assert list(tmp_path.iterdir()) == []
