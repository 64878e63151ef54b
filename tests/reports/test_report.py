from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd
import pytest

from irdream.errors import InputError
from irdream.reports.report import VERDICTS, Claim, Page, Table


def claim(code: str = "C1", verdict: Any = "holds") -> Claim:
    return Claim(code=code, says="", measured="", verdict=verdict, why="")


def page(*claims: Claim) -> Page:
    return Page(title="", lead=[], claims=claims, sections=[], provenance={})


def test_cells_are_shown_in_the_format_of_their_column():
    frame = pd.DataFrame(
        {
            "name": ["cello", None],
            "share": [0.5, math.nan],
            "rmse": [2.1849, -0.5],
            "count": [110, 7],
            "wins": [True, False],
            "nullable": pd.array([1, None], dtype="Int64"),
            "mixed": [0.25, "many"],
        }
    )
    table = Table(title="", frame=frame, formats={"share": ".0%"}, digits=1)
    assert table.columns == ["name", "share", "rmse", "count", "wins", "nullable", "mixed"]
    assert table.rows == [
        ["cello", "50%", "2.2", "110", "yes", "1", "0.2"],
        ["–", "–", "-0.5", "7", "no", "–", "many"],
    ]
    assert table.numeric == [False, True, True, True, False, True, False]


def test_a_format_holds_for_a_column_of_objects_too():
    frame = pd.DataFrame({"value": pd.Series([0.123, None], dtype=object)})
    assert Table(title="", frame=frame, formats={"value": ".1f"}).rows == [["0.1"], ["–"]]


def test_a_table_without_rows():
    table = Table(title="", frame=pd.DataFrame({"a": pd.Series([], dtype=float)}))
    assert (table.rows, table.columns, table.numeric) == ([], ["a"], [True])


def test_columns_that_are_named_by_numbers():
    table = Table(title="", frame=pd.DataFrame({1: [0.5], 2: [0.5]}), formats={"1": ".1f"})
    assert table.columns == ["1", "2"]
    assert table.rows == [["0.5", "0.50"]]


def test_a_format_for_no_column_is_refused():
    message = re.escape("formats='rsme' in table 'T'; expected a column of rmse, count")
    with pytest.raises(InputError, match=f"^{message}$"):
        Table(title="T", frame=pd.DataFrame(columns=["rmse", "count"]), formats={"rsme": ".1f"})


def test_an_unknown_verdict_is_refused():
    message = (
        "verdict='hold'; expected one of holds, holds in part, does not hold, not tested; "
        "did you mean 'holds'?"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        claim(verdict="hold")


def test_two_claims_of_one_code_are_refused():
    with pytest.raises(InputError, match=r"^code='C2' names two claims; expected one"):
        page(claim("C2"), claim("C1"), claim("C2"))


def test_verdicts_are_counted_in_their_order():
    found = page(claim("1", "not tested"), claim("2"), claim("3", "not tested"))
    assert list(found.tally.items()) == [("holds", 1), ("not tested", 2)]
    assert len(VERDICTS) == 4
