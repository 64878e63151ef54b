from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from irdream.paper.tables import before_after_table, left_out, page_tables, summary_of

BY = ["way", "kind"]


def measured(count: int, **columns: Any) -> pd.DataFrame:
    """Return dreams of one recording each, in one way, with some measures."""
    defaults = {
        "way": "gain", "kind": "dream", "recording": range(count), "at_0.9": True,
        "wav_at_0.9": True, "rmse_db": 2.0, "snr_db": 10.0, "masking_violation": 0.1,
        "wav_on_top": True,
    }  # fmt: skip
    return pd.DataFrame(defaults | columns, index=range(count))


def summary(count: int, **columns: Any) -> dict[str, Any]:
    (row,) = summary_of(measured(count, **columns), BY).to_dict("records")
    return row


def test_survival_counts_what_had_success_on_the_spectrogram() -> None:
    flags = {
        "at_0.9": [True, True, True, True, False, False],
        "wav_at_0.9": [True, True, True, False, True, True],
    }
    dream = summary(6, **flags)
    assert (dream["survival"], dream["dreams"]) == (3 / 4, 6)
    assert summary(6, **flags, kind="random")["survival"] == 5 / 6
    none = summary(3, **{"at_0.9": False})
    assert np.isnan([none["survival"], none["survival_low"], none["survival_high"]]).all()
    assert none["snr_db"] == 10.0


def test_measures_are_medians_and_shares_are_means() -> None:
    columns: dict[str, Any] = {
        "snr_db": [1, 2, 4, 100], "masking_violation": [0, 0, 0, 1],
        "wav_on_top": [True, False, False, False], "flatness": [1.0, 2.0, 3.0, 5.0],
    }  # fmt: skip
    row = summary(4, **columns)
    assert (row["snr_db"], row["flatness"]) == (3.0, 2.5)
    assert (row["masking_violation"], row["wav_on_top"]) == (0.25, 0.25)
    assert row["snr_db_low"] <= 3.0 <= row["snr_db_high"] <= 100
    assert "transfer_on_top" not in row  # nothing measured it
    means = summary_of(measured(4, **columns), BY, medians=(), means=["snr_db"])
    assert means["snr_db"].tolist() == [107 / 4]
    assert "flatness" not in means
    alone = summary(1)
    assert (alone["survival"], alone["snr_db"]) == (1.0, 10.0)
    assert np.isnan([alone["snr_db_low"], alone["masking_violation_high"]]).all()


def test_what_measures_leave_out_is_counted_and_said() -> None:
    """A copy has no SNR, a silent original none either."""
    sizes = {"rmse_db": [0.0, 1.0, 2.0, 3.0], "snr_db": [np.inf, 10, 20, -np.inf]}
    dreams = measured(4, **sizes, wav_rmse_db=[np.nan, 1, 3, 5], flatness=np.nan)
    table = summary_of(dreams, BY)
    (row,) = table.to_dict("records")
    assert (row["snr_db"], row["snr_db_undefined"], row["unchanged"]) == (15.0, 1, 1)
    assert (row["wav_rmse_db"], row["wav_rmse_db_undefined"]) == (3.0, 1)
    assert (row["flatness_undefined"], row["dreams"]) == (4, 4)
    assert np.isnan(row["flatness"])
    assert left_out(table, BY, {"snr_db": "SNR dB", "flatness": "flatness"}) == (
        "Left out: gain, dream: 1 of 4 changed nothing; gain, dream: SNR dB of 1 of 4 is not "
        "defined."
    )
    assert left_out(table, BY, {"voiced_share": "voiced"}) == ""
    control = summary(4, **sizes, kind="undreamed")
    assert (control["unchanged"], control["snr_db_undefined"]) == (0, 2)  # it is meant to be
    assert left_out(summary_of(measured(4), BY), BY, {"snr_db": "SNR dB"}) == ""


def test_tables_of_the_page_show_the_measures_that_are_there() -> None:
    table = summary_of(measured(4, snr_db=[np.inf, 1, 2, 3]), BY)
    shown = {"A": {"survival": ("alive", ".0%"), "flatness": ("flatness", ".2f")}}
    shown |= {"B": {"snr_db": ("SNR dB", ".1f")}}
    first, second = page_tables(table, BY, shown, "Of a test. ")
    assert (first.title, first.columns, first.rows) == (
        "A", ["way", "kind", "alive"], [["gain", "dream", "100%"]],
    )  # fmt: skip
    assert (first.caption, second.rows[0][2]) == ("Of a test.", "2.0")
    assert second.caption.endswith("SNR dB of 1 of 4 is not defined.")


def test_before_and_after_by_hand() -> None:
    columns: dict[str, Any] = {
        "set": "until confident", "toward": "own", "before_on_top": [True, True, False],
        "before": [0.9, 0.8, 0.1], "target_probability": [0.9, 0.95, 0.85], "steps": [0, 4, 7],
        "at_0.9": [True, True, False], "steps_to_flip": [0, 0, np.nan], "on_top": True,
        "steps_to_0.9": [0, 4, np.nan], "rmse_db": [0, 1, 2], "mse_db2": [0, 1, 4],
        "max_abs_db": [0, 3, 6], "transfer_on_top": [True, False, False],
    }  # fmt: skip
    own = measured(3, **columns)
    none = own.assign(toward="other", **dict.fromkeys(["steps_to_flip", "steps_to_0.9"], np.nan))
    first, second = before_after_table(pd.concat([own, none])).to_dict("records")

    expected = {
        "dreams": "until confident", "toward": "own", "n": 3, "top before": 2 / 3, "top": 1.0,
        "≥ 0.9": 2 / 3, "p before": 0.6, "p": 0.9, "least p": 0.85, "steps": 4.0, "unchanged": 1,
        "flipped": 2 / 3, "to flip": 0.0, "reached 0.9": 2 / 3, "to 0.9": 2.0,
        "RMSE dB": 1.0, "MSE dB²": 5 / 3, "max dB": 3.0, "transfer": 1 / 3,
    }  # fmt: skip
    assert first == pytest.approx(expected)
    assert (second["toward"], second["n"]) == ("other", 3)
    assert np.isnan([second["to flip"], second["to 0.9"]]).all()
    assert (second["flipped"], second["reached 0.9"]) == (0, 0)
    without = before_after_table(own.drop(columns="transfer_on_top"))
    assert np.isnan(without["transfer"].to_numpy()).all()
