from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from irdream.measures.published import (
    IRMAS_TEST_EXCERPTS,
    IRMAS_TEST_LABELS,
    PUBLISHED,
    is_whole_irmas_test,
)
from irdream.measures.recognition import Report
from irdream.reports.tables import (
    confusion_table,
    instrument_table,
    mean_of,
    prediction_table,
    records,
    rows_of,
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


@pytest.fixture
def dreams() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "way": ["gain", "gain", "lim", "lim", "gain"],
            "kind": ["dream", "random", "dream", "random", "dream"],
            "steps": [3, None, 0, None, 7],
            "success": [True, False, False, True, True],
        }
    )
    return table.set_axis([7, 7, 7, 2, 1])  # as after pd.concat: labels say nothing


def test_rows_of_have_all_of_the_values(dreams):
    found = rows_of(dreams, way="gain", kind="dream")
    assert found["steps"].tolist() == [3, 7]
    assert rows_of(dreams, kind=["random", "none"], success=True)["way"].tolist() == ["lim"]
    assert rows_of(dreams, steps=0)["way"].tolist() == ["lim"]
    assert rows_of(dreams, success=False).index.tolist() == [7, 7]
    assert list(rows_of(dreams, way="none").columns) == list(dreams.columns)
    assert len(rows_of(dreams, way=[])) == 0
    pd.testing.assert_frame_equal(rows_of(dreams), dreams)


def test_rows_of_an_unknown_column(dreams):
    with pytest.raises(KeyError, match="ways"):
        rows_of(dreams, ways="gain")


def test_the_mean_of_numbers_and_of_flags(dreams):
    assert mean_of(dreams, "success") == pytest.approx(3 / 5)
    assert mean_of(rows_of(dreams, kind="dream"), "steps") == pytest.approx(10 / 3)
    assert isinstance(mean_of(dreams, "success"), float)


def test_a_value_that_is_missing_is_not_left_out_of_a_mean(dreams):
    assert np.isnan(mean_of(dreams, "steps"))


def test_records_are_rows_in_order(dreams):
    found = records(dreams[["way", "success"]])
    assert found[:2] == [{"way": "gain", "success": True}, {"way": "gain", "success": False}]
    assert [row["way"] for row in found] == dreams["way"].tolist()
    assert [row["steps"] for row in records(rows_of(dreams, way="lim", kind="dream"))] == [0]
    assert records(rows_of(dreams, way="none")) == []
    assert records(pd.DataFrame({0: ["a"], "n": [2]})) == [{"0": "a", "n": 2}]
