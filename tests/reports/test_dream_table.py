"""What is told of a run's dreams: averages say what they leave out, the last line what counts."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from irdream.measures.table import MEASURES
from irdream.reports.dream_table import print_dreams, summary, title_of


def table(count: int, **columns: Any) -> pd.DataFrame:
    """Return rows toward a flute that all succeeded."""
    values: dict[str, Any] = {each.name: 1.0 for each in MEASURES} | {
        "name": "x", "target": "flu", "step_size": 0.25, "budget_db": None, "variation": 0,
        "prediction": "flu", "prediction_wav": "sax", "unchanged": False,
    }  # fmt: skip
    for each in MEASURES:
        if each.is_share:
            values[each.name] = True
        if each.needs == "judge":
            values[each.name] = None
    return pd.DataFrame({name: [x] * count for name, x in values.items()} | columns)


def printed(dreams: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_dreams(dreams, summary(dreams), [], varied=[], omitted=0)
    return capsys.readouterr().out.strip().splitlines()


def test_means_and_medians() -> None:
    metrics = summary(table(3, steps=[0, 1, 5], **{"wav_at_0.9": [True, False, False]}))
    assert (metrics["dream/count"], metrics["dream/unchanged"]) == (3, 0)
    assert (metrics["dream/steps"], metrics["dream/steps_median"]) == (2, 1)
    assert metrics["dream/wav_at_0.9"] == pytest.approx(1 / 3)
    assert "dream/wav_at_0.9_median" not in metrics
    assert not [name for name in metrics if "objective" in name or "undefined" in name]


@pytest.mark.parametrize(
    ("snr_db", "unchanged", "mean", "undefined", "lines"),
    [
        ([10, 20, 30], [False] * 3, 20, None, []),
        (
            [np.inf, 10, 20], [True, False, False], 15, None,
            ["1 of 3 dreams changed nothing; the SNR is of the 2 that changed"],
        ),
        (
            [140, 10, 20], [True, False, False], 15, None,  # a copy, but for rounding
            ["1 of 3 dreams changed nothing; the SNR is of the 2 that changed"],
        ),
        (
            [-np.inf, 10, 20], [False] * 3, 15, 1,  # of silence
            ["SNR dB is not defined for 1 of 3 dreams"],
        ),
        (
            [np.nan, -np.inf, 10], [True, False, False], 10, 1,
            [
                "1 of 3 dreams changed nothing; the SNR is of the 2 that changed",
                "SNR dB is not defined for 1 of 3 dreams",
            ],
        ),
        (
            [np.inf] * 3, [True] * 3, None, None,
            ["3 of 3 dreams changed nothing; the SNR is of the 0 that changed"],
        ),
    ],
    ids=["all", "infinite", "rounding", "silence", "both", "none"],
)  # fmt: skip
def test_what_an_average_leaves_out_is_counted_and_said(
    capsys, snr_db, unchanged, mean, undefined, lines
) -> None:
    dreams = table(3, snr_db=snr_db, unchanged=unchanged)
    metrics = summary(dreams)
    assert metrics.get("dream/snr_db") == mean
    assert metrics["dream/unchanged"] == sum(unchanged)
    assert metrics.get("dream/snr_db_undefined") == undefined
    assert all(np.isfinite(value) for value in metrics.values())
    assert printed(dreams, capsys)[-1 - len(lines) : -1] == lines


@pytest.mark.parametrize(
    ("targets", "line"),
    [
        (["flu"] * 4, "flute is the first guess in 3 of 4 WAVs, at 0.9 or more in 1 (of the "
                      "spectrograms: 4, 2)"),
        (["flu", "sax"] * 2, "the target is the first guess in 3 of 4 WAVs, at 0.9 or more in 1 "
                             "(of the spectrograms: 4, 2)"),
        (["drum"] * 4, "drum is the first guess in 3 of 4 WAVs, at 0.9 or more in 1 (of the "
                       "spectrograms: 4, 2)"),
    ],
    ids=["one", "several", "own label"],
)  # fmt: skip
def test_the_last_line_says_how_many_succeeded(capsys, targets, line) -> None:
    dreams = table(
        4, target=targets,
        **{
            "at_0.9": [True, True, False, False], "wav_on_top": [True, True, True, False],
            "wav_at_0.9": [True, False, False, False],
        },
    )  # fmt: skip
    assert printed(dreams, capsys)[-1] == line


def test_the_last_line_says_what_the_judge_predicts_and_leaves_out_what_is_equal(capsys) -> None:
    judged = {
        "judge_probability": [0.8, 0.1, None], "judge_on_top": [True, False, None],
        "undreamed_judge_on_top": [False, False, None],
    }  # fmt: skip
    lines = printed(table(3, **judged), capsys)
    assert lines[-1] == (
        "flute is the first guess in 3 of 3 WAVs, at 0.9 or more in 3; the judge agrees in 1 of 2 "
        "that it was asked about (undreamed 0)"
    )
    assert "judge on top is not defined for 1 of 3 dreams" in lines
    assert any("p judge" in line for line in lines)
    metrics = summary(table(3, **judged))
    assert metrics["dream/judge_on_top"] == 0.5
    assert metrics["dream/undreamed_judge_on_top"] == 0
    assert metrics["dream/judge_probability"] == pytest.approx(0.45)
    assert not [name for name in summary(table(3)) if "judge" in name]


def test_without_a_target_the_last_line_tells_the_objective_and_the_predictions(capsys) -> None:
    dreams = table(
        3, target=[None] * 3, objective_before=[1.0, 2.0, 9.0], objective=[3.0, 4.0, 99.0],
        prediction_wav=["flu", "sax", "flu"],
    )  # fmt: skip
    assert printed(dreams, capsys)[-1] == (
        "objective 2 → 4 (median); first guess of the WAVs: flute 2, saxophone 1"
    )


def test_titles_say_which_dream_it_is() -> None:
    (row,) = table(1, budget_db=[2.0], variation=[1]).to_dict("records")
    assert title_of(row, []) == "x toward flute: 1.00 → 1.00, as WAV 1.00"
    assert title_of(row, ["step_size", "budget_db", "variation"]).startswith(
        "x toward flute, step size 0.25, budget 2 dB, variation 1: "
    )
    row["target"] = None
    assert title_of(row, []) == "x: objective 1 → 1; predicted flute, as WAV saxophone"


@pytest.mark.parametrize("judged", [True, False])
def test_the_legend_speaks_of_a_judge_where_there_is_one(judged, capsys) -> None:
    columns = {"judge_on_top": True, "judge_probability": 0.5} if judged else {}
    lines = printed(table(1, **columns), capsys)
    (legend,) = (line for line in lines if line.startswith("p: probability of the target"))
    assert ("by a network that had no part (judge)" in legend) == judged
