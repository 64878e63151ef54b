"""A recognizer that hears loudness beside one that takes cellos for flutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.recognizer import Recognizer
from irdream.tasks.compare import compare
from irdream.tracking import NullTracker

RATE_HZ = 1000
LEVELS = (torch.arange(11.0) + 1) / 12


class LoudnessFrontend(nn.Module):
    sample_rate_hz, hop_samples = RATE_HZ, 20

    def forward(self, waveform):
        levels = waveform.unfold(-1, 20, 20).mean(-1)
        return -((levels[:, None] - LEVELS[:, None]) ** 2) * 2000


class LoudnessModel(nn.Module):
    output = "softmax"

    def __init__(self, *, is_confused: bool = False) -> None:
        super().__init__()
        self.is_confused = is_confused

    def forward(self, log_mel):
        found = log_mel.softmax(1).mean(-1) + 1e-9
        if self.is_confused:
            found = found[:, [2, 1, 0, *range(3, 11)]]  # cello and flute
        return found.log()


class ToyData:
    """Excerpts of these instruments, some of which cannot be read."""

    name = "toy"

    def __init__(self, codes):
        self.codes = codes

    def part(self, name, *, sample_rate_hz):
        files = [
            ExcerptFile(
                path=Path(code.partition("+")[0]),
                name=f"{i}",
                recording=f"r{i // 2}",
                labels=tuple(label[-3:] for label in code.split("+")),
            )
            for i, code in enumerate(self.codes)
        ]
        return Excerpts(files, self._load)

    def _load(self, path):
        if path.name.startswith("broken"):
            raise InputError(f"'{path.name}.wav' is cut off")
        return LEVELS[CODES.index(path.name)].repeat(2 * RATE_HZ)


class Rows(NullTracker):
    def __init__(self):
        self.metrics, self.files = {}, []

    def log_metrics(self, metrics, step=0):
        self.metrics |= metrics

    def log_file(self, path, folder=""):
        self.files.append((path.name, folder))


def recognizer(*, is_confused: bool) -> Recognizer:
    return Recognizer(
        frontend=LoudnessFrontend(),
        model=LoudnessModel(is_confused=is_confused),
        thresholds={"s1": 0.5, "s2": 0.5},
    )


@pytest.fixture
def run(tmp_path):
    def run(dataset, *, tracker=None, **settings):
        return compare(
            recognizer=recognizer(is_confused=False), other=recognizer(is_confused=True),
            dataset=dataset, tracker=tracker or NullTracker(), output_dir=tmp_path / "run",
            **{"permutations": 500, **settings},
        )  # fmt: skip

    return run


def test_scores_differences_and_p_values(run, tmp_path, capsys):
    tracker = Rows()
    metrics = run(ToyData(["cel", "flu", "pia", "sax"] * 6), tracker=tracker, names=("A", "B"))
    assert tracker.metrics == metrics
    assert tracker.files == [("comparison.csv", "comparison")]
    assert (metrics["compare/micro_f1"], metrics["compare/micro_f1_other"]) == (1, 0.5)
    assert metrics["compare/top1_difference"] == 0.5
    assert 0 < metrics["compare/top1_low"] < 0.5 < metrics["compare/top1_high"] < 1
    # 6 of 12 recordings are heard better by the first: p is about 2 / 2^6.
    assert metrics["compare/micro_f1_p"] == pytest.approx(1 / 32, abs=0.03)
    assert metrics["compare/top1_mcnemar_p"] == pytest.approx(2 / 2**12)
    said, *printed = capsys.readouterr().out.splitlines()
    assert said == "compare: A and B, 24 excerpts, the test part of 'toy', on cpu"
    assert printed[0] == "toy, test part: A less B, 24 excerpts of 12 recordings, S1"
    assert printed[1].startswith("micro F1: 1.000 and 0.500, difference 0.500 (0.")
    assert printed[-1].startswith("top-1 by McNemar's exact test: 12 right by the first alone, 0")
    assert len(printed) == 6
    table = pd.read_csv(tmp_path / "run" / "comparison.csv")
    assert table["measure"].tolist() == ["micro_f1", "macro_f1", "top1", "lrap", "top1"]
    assert table["test"].iloc[-1] == "McNemar, exact: 12 against 0 right alone"
    assert set(table["first"]) | set(table["second"]) == {"A", "B"}
    assert np.allclose(table["difference"], table["first_score"] - table["second_score"])


def test_where_they_agree_they_do_not_differ(run):
    metrics = run(ToyData(["pia", "sax", "voi"]))
    assert metrics["compare/micro_f1_difference"] == 0
    assert metrics["compare/micro_f1_p"] == metrics["compare/top1_mcnemar_p"] == 1


def test_unreadable_excerpts_are_left_out_and_listed_once(run, caplog):
    metrics = run(ToyData(["cel", "broken flu", "pia"]))
    assert metrics["compare/excerpts"] == 2
    assert caplog.text.count("'broken flu.wav' is cut off") == 1


def test_a_measure_that_is_not_defined_is_said_to_be_so(run, capsys):
    metrics = run(ToyData(["cel+flu", "pia+sax", "flu+cel"]))
    assert not [name for name in metrics if "top1" in name]
    assert "top-1 is not defined on these excerpts\n" in capsys.readouterr().out


def test_what_cannot_be_compared(run):
    with pytest.raises(InputError, match=r"names=\['A'\]; expected two"):
        run(ToyData(["cel"]), names=("A",))
    with pytest.raises(InputError, match=r"compare.permutations=3; expected at least 20"):
        run(ToyData(["broken cel"]), permutations=3)
    with pytest.raises(InputError, match=r"unknown aggregation 'mean'"):
        run(ToyData(["cel"]), aggregation="mean")
