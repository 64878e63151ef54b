from pathlib import Path

import pytest

from irdream.datasets.base import ExcerptFile, Excerpts, PartName
from irdream.tasks.prepare import prepare
from irdream.tracking import NullTracker
from tests.tiny import Notebook


class Plain:
    """The least that a data set can be."""

    name = "plain"

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        labels = [("flu",), ("flu", "voi"), ()] if name == "test" else [("cel",)] * 2
        files = [
            ExcerptFile(path=Path(f"{i}.wav"), name=str(i), labels=codes, recording="a")
            for i, codes in enumerate(labels)
        ]
        return Excerpts(files, self.decode)

    def decode(self, path: Path):
        raise AssertionError("preparing decodes nothing")


class Rendered(Plain):
    def __init__(self) -> None:
        self.ready = False

    def prepare(self) -> None:
        self.ready = True

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        assert self.ready
        return super().part(name, sample_rate_hz=sample_rate_hz)

    def summary(self) -> str:
        return "found what was rendered"


def test_counts_without_decoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Notebook()
    metrics = prepare(dataset=Plain(), tracker=tracker, output_dir=tmp_path)
    assert metrics == {
        "prepare/training_excerpts": 2,
        "prepare/training_recordings": 1,
        "prepare/test_excerpts": 3,
        "prepare/test_recordings": 1,
    }
    assert tracker.metrics == metrics
    assert capsys.readouterr().out.splitlines() == [
        "prepare: counts 2 training and 3 test excerpts of 'plain'",
        "plain: found 2 training and 3 test excerpts",
    ]


def test_the_table_counts_each_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Notebook()
    prepare(dataset=Plain(), tracker=tracker, output_dir=tmp_path)
    table = "part,label,excerpts\ntraining,cel,2\ntest,,1\ntest,flu,2\ntest,voi,1\n"
    assert (tmp_path / "excerpts.csv").read_text() == table
    assert tracker.files == ["excerpts.csv"]
    assert "without use in the test part: 1 of 3 files have no label: 1 in " in caplog.text
    assert "in the training part" not in caplog.text


def test_a_data_set_that_can_be_made_ready_is(tmp_path, capsys) -> None:
    prepare(dataset=Rendered(), tracker=NullTracker(), output_dir=tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "prepare: 'plain' makes itself ready, then its excerpts are counted",
        "plain: found what was rendered",
    ]
