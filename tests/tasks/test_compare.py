import numpy as np
import pandas as pd
import pytest

from irdream.errors import InputError
from irdream.tasks.compare import HOW_TO_READ, compare
from irdream.tracking import NullTracker
from tests.tasks.loudness import ToyData, loudness_recognizer, scored_by
from tests.tiny import Notebook


@pytest.fixture
def run(tmp_path):
    def run(*test: str, **settings):
        given = {"tracker": NullTracker(), "permutations": 500, **settings}
        return compare(
            recognizer=loudness_recognizer(), other=loudness_recognizer(is_confused=True),
            dataset=ToyData(test), output_dir=tmp_path / "run", **scored_by(given),
        )  # fmt: skip

    return run


def test_scores_differences_and_p_values(run, tmp_path, capsys):
    tracker = Notebook()
    test = [code for code in ("cel", "flu", "pia", "sax") for _ in range(6)]
    metrics = run(*test, tracker=tracker, names=("A", "B"))
    assert tracker.metrics == metrics
    assert tracker.files == ["comparison/comparison.csv"]
    assert (metrics["compare/micro_f1"], metrics["compare/micro_f1_other"]) == (1, 0.5)
    assert metrics["compare/top1_difference"] == 0.5
    assert 0 < metrics["compare/top1_low"] < 0.5 < metrics["compare/top1_high"] < 1
    # 6 of 12 recordings are predicted better by the first: p is about 2 / 2^6.
    assert metrics["compare/micro_f1_p"] == pytest.approx(1 / 32, abs=0.03)
    assert metrics["compare/top1_mcnemar_p"] == pytest.approx(2 / 2**12)
    said, *printed = capsys.readouterr().out.splitlines()
    assert said == "compare: A and B, 24 excerpts, the test part of 'toy', on cpu"
    assert printed[0] == "toy, test part: A less B, 24 excerpts of 12 recordings, S1"
    assert printed[1].startswith("micro F1: 1.000 and 0.500, difference 0.500 (0.")
    assert printed[5].startswith("top-1 by McNemar's exact test: 12 right by the first alone, 0")
    assert printed[6:] == [HOW_TO_READ]
    table = pd.read_csv(tmp_path / "run" / "comparison.csv")
    assert table["measure"].tolist() == ["micro_f1", "macro_f1", "top1", "lrap", "top1"]
    assert table["test"].iloc[-1] == "McNemar, exact"
    assert table[["first_alone", "second_alone"]].iloc[-1].tolist() == [12, 0]
    assert set(table["first"]) | set(table["second"]) == {"A", "B"}
    assert np.allclose(table["difference"], table["first_score"] - table["second_score"])


def test_where_they_agree_they_do_not_differ(run):
    metrics = run("pia", "sax", "voi")
    assert metrics["compare/micro_f1_difference"] == 0
    assert metrics["compare/micro_f1_p"] == metrics["compare/top1_mcnemar_p"] == 1


def test_unreadable_excerpts_are_left_out_and_listed_once(run, caplog):
    assert run("cel", "broken flu", "pia")["compare/excerpts"] == 2
    assert caplog.text.count("'broken flu.wav' is cut off") == 1


def test_a_measure_that_is_not_defined_is_said_to_be_so(run, capsys):
    metrics = run("cel+flu", "pia+sax", "flu+cel")
    assert not [name for name in metrics if "top1" in name]
    assert "top-1 is not defined on these excerpts\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ("A",)}, r"names=\[A\]; expected a list of 2 texts"),
        ({"permutations": 3}, r"permutations=3; expected a whole number, at least 20"),
        ({"aggregation": "mean"}, "aggregation=mean; expected s1 or s2 or max or network"),
    ],
)
def test_what_cannot_be_compared(run, settings, message):
    with pytest.raises(InputError, match=message):
        run("broken cel", **settings)


def test_different_labels_are_refused_before_anything_is_scored(tmp_path):
    drums = loudness_recognizer()
    drums.instruments = ("kick", "snare")
    with pytest.raises(InputError, match=r"the first predicts cel .*, the second kick, snare; sco"):
        compare(
            recognizer=loudness_recognizer(), other=drums, dataset=ToyData(("broken cel",)),
            tracker=NullTracker(), output_dir=tmp_path,
        )  # fmt: skip
