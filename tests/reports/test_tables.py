import numpy as np
import pandas as pd
import pytest

from irdream.reports.tables import mean_of, rows_of, save_table


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


def test_saved_table_reads_back(tmp_path):
    table = pd.DataFrame({"name": ["first", "secönd, [flu]"], "score": [0.25, np.nan]})
    save_table(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)


def test_rows_of_have_all_of_the_values(dreams):
    found = rows_of(dreams, way="gain", kind="dream")
    assert found["steps"].tolist() == [3, 7]
    assert rows_of(dreams, kind=["random", "none"], success=True)["way"].tolist() == ["lim"]
    assert rows_of(dreams, steps=0)["way"].tolist() == ["lim"]
    assert rows_of(dreams, success=False).index.tolist() == [7, 7]
    assert list(rows_of(dreams, way="none").columns) == list(dreams.columns)
    assert len(rows_of(dreams, way=[])) == 0
    pd.testing.assert_frame_equal(rows_of(dreams), dreams)
    with pytest.raises(KeyError, match="ways"):
        rows_of(dreams, ways="gain")


def test_the_mean_of_numbers_and_of_flags_leaves_nothing_out(dreams):
    assert mean_of(dreams, "success") == pytest.approx(3 / 5)
    assert mean_of(rows_of(dreams, kind="dream"), "steps") == pytest.approx(10 / 3)
    assert np.isnan(mean_of(dreams, "steps"))
