import logging

import pandas as pd
import pytest
import torch
from torch import nn

from irdream.datasets.identity import split_excerpts
from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.measures.scoring import validation_of
from irdream.reports.recognition import HOW_TO_READ
from irdream.tasks.evaluate import evaluate
from irdream.tracking import NullTracker
from tests.tasks.loudness import RATE_HZ, ToyData, loudness_recognizer, scored_by
from tests.tiny import Notebook


@pytest.fixture
def recognizer():
    return loudness_recognizer()


@pytest.fixture
def quick(monkeypatch):
    """Drawing takes a second; one test does it in earnest."""
    monkeypatch.setattr(
        "irdream.reports.recognition.save_figure", lambda figure, path: path.touch()
    )


@pytest.fixture
def run(recognizer, tmp_path, quick):
    def run(dataset, **settings):
        tracker = settings.pop("tracker", NullTracker())
        return evaluate(
            recognizer=recognizer, dataset=dataset, tracker=tracker, output_dir=tmp_path / "run",
            **scored_by(settings),
        )  # fmt: skip

    return run


def test_a_perfect_recognizer_scores_one(run):
    metrics = run(ToyData(test=[*CODES, "cel+flu", "gel+voi"]))
    for name in ("micro_f1", "macro_f1", "top1", "oracle_micro_f1", "s2_micro_f1"):
        assert metrics[f"eval/{name}"] == 1.0, name
    assert metrics["eval/excerpts"] == 13
    assert metrics["eval/skipped"] == 0
    assert metrics["eval/threshold"] == 0.2


def test_mistakes_are_counted(run, tmp_path):
    metrics = run(ToyData(test=["cel", "flu", "pia", "cel as voi"]))
    assert metrics["eval/top1"] == 0.75
    assert metrics["eval/micro_f1"] == 0.75
    assert metrics["eval/macro_f1"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)
    table = pd.read_csv(tmp_path / "run" / "confusion.csv").set_index("label")
    assert table.loc["voi", "cel"] == 1


def test_files_and_metrics_reach_the_tracker(recognizer, tmp_path):
    tracker = Notebook()
    metrics = evaluate(
        recognizer=recognizer, dataset=ToyData(test=["cel", "flu+pia"]), tracker=tracker,
        output_dir=tmp_path / "run",
    )  # fmt: skip
    assert tracker.metrics == metrics
    names = [f"{name}.csv" for name in ("scores", "summary", "predictions", "confusion")]
    names += ["calibration.csv", "scores.png", "confusion.png"]
    assert tracker.files == [f"evaluation/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(names)
    assert all(path.stat().st_size > 20 for path in (tmp_path / "run").iterdir())
    predictions = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert predictions["name"].tolist() == ["[x]0", "[x]1"]
    assert predictions["predicted"].tolist() == ["cel", "flu;pia"]


def test_what_is_printed_and_written_says_on_what_data(run, tmp_path, capsys):
    run(ToyData(test=["cel"], name="rendered"))
    printed = capsys.readouterr().out
    assert "rendered, test part" in printed
    assert "not comparable" in printed
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    assert summary.loc[0, "data"] == "rendered, test part"
    assert "not comparable" in summary.loc[0, "note"]


def test_a_number_is_the_threshold_of_one_aggregation(run):
    metrics = run(ToyData(test=["cel", "flu+pia"]), threshold=0.9)
    assert metrics["eval/s1_threshold"] == 0.9
    assert metrics["eval/micro_recall"] == pytest.approx(1 / 3)  # the pair has two halves
    assert "eval/s2_micro_f1" not in metrics


def test_validation_threshold_comes_from_the_training_part(run):
    # There the first half of a pair is no label, so the threshold must lie above its score.
    dataset = ToyData(test=["cel", "flu+pia"], training=["cel", "flu+pia as pia"] * 20)
    metrics = run(dataset, threshold="validation")
    assert 0.4 < metrics["eval/threshold"] < 0.9
    assert metrics["eval/micro_recall"] == pytest.approx(2 / 3)
    assert metrics["eval/oracle_micro_recall"] == 1.0
    assert metrics["eval/s2_threshold"] > metrics["eval/s1_threshold"]


def test_what_was_trained_on_is_not_validated_on(recognizer):
    training = ["cel", "flu", "pia", "voi"] * 10
    excerpts = ToyData(training=training).part("training", sample_rate_hz=RATE_HZ)

    def names(dataset="toy", seed=0):
        chosen = validation_of(excerpts, recognizer, dataset, 0.5, seed)
        return [file.name for file in chosen.files]

    drawn = names()
    assert len(drawn) == 20
    recognizer.card = {
        "data": {"name": "toy"}, "seed": 3, "split": {"by": "excerpt", "validation_share": 0.1},
    }  # fmt: skip
    _, kept = split_excerpts(excerpts.files, "excerpt", validation_share=0.1, seed=3)
    assert names() == names(seed=1) == [f"[x]{i}" for i in kept]
    assert names("another") == drawn != names("another", seed=1)


def test_without_thresholds_in_the_checkpoint_they_are_chosen(run, recognizer, caplog):
    recognizer.thresholds = {"s2": 0.5}
    caplog.set_level(logging.INFO)
    dataset = ToyData(test=["cel"], training=["cel", "flu+pia"] * 4)
    assert run(dataset)["eval/threshold"] > 0
    assert "no threshold" in caplog.text


def test_bad_files_are_skipped_and_listed(run, caplog):
    metrics = run(ToyData(test=["broken cel", "cel", "short as flu", "flu", "pia"]))
    assert metrics["eval/skipped"] == 2
    assert metrics["eval/excerpts"] == 3
    assert metrics["eval/top1"] == 1.0
    assert "skipped 2 excerpts" in caplog.text
    assert "[x]0: 'broken cel.wav' is cut off" in caplog.text
    assert "[x]2: '[x]2' is too short: 0.500 s, at least 1.000 s expected" in caplog.text


def test_unlabelled_excerpts_are_predicted_but_not_scored(run, tmp_path):
    metrics = run(ToyData(test=["cel", "unlabelled flu"]))
    assert metrics["eval/excerpts"] == 1
    predictions = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert predictions["top1"].tolist() == ["cel", "flu"]


def test_without_an_excerpt_of_one_label_it_is_said_that_there_is_no_top1(run, capsys):
    assert "eval/top1" not in run(ToyData(test=["cel+flu", "cel+pia"]))
    assert "top-1 on excerpts with one label: not defined, there are none" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("dataset", "settings", "message"),
    [
        pytest.param(
            ToyData(), {}, r"the test part of 'toy' is empty; try evaluate.part=training",
            id="empty",
        ),
        pytest.param(
            ToyData(test=["cel"]), {"threshold": "validation"},
            r"the training part of 'toy' is empty; give a number: evaluate.threshold=0.5",
            id="no training part",
        ),
        pytest.param(
            ToyData(test=["unlabelled cel"] * 2), {},
            r"no excerpt in the test part of 'toy' has a label to score against; 2 of 2 files",
            id="no labels",
        ),
        pytest.param(
            ToyData(test=["cel as oud", "flu as bag"]), {},
            r"does not know: bag, oud; expected some of cel \(cello", id="unknown labels",
        ),
        pytest.param(
            ToyData(test=["broken cel", "broken flu"]), {},
            r"none of 2 excerpts of 'toy' is readable and labelled; the first: \[x\]0: 'broken cel",
            id="all broken",
        ),
        pytest.param(
            ToyData(test=["cel"]), {"part": "validation"},
            r"part=validation; expected training or test", id="part",
        ),
        pytest.param(
            ToyData(test=["cel"]), {"threshold": "best"},
            r"threshold=best; expected checkpoint or validation, or a number from 0 to 1",
            id="threshold",
        ),
        pytest.param(
            ToyData(test=["cel"]), {"threshold": 40}, r"threshold=40; expected .* from 0 to 1",
            id="threshold in percent",
        ),
        pytest.param(
            ToyData(test=["cel"]), {"aggregation": "mean"}, r"=mean; expected .* or network",
            id="aggregation",
        ),
        pytest.param(
            ToyData(test=["cel"]), {"batch_windows": 0},
            r"batch_windows=0; expected a whole number, at least 1", id="batch",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated(run, dataset, settings, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        run(dataset, **settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_temperature_is_fitted_where_validation_is_predicted(run, tmp_path, capsys):
    test, training = ["cel", "flu+pia", "gel"], ["cel", "flu+pia"] * 20
    without = run(ToyData(test=test, training=training))
    assert "eval/temperature" not in without
    found = run(ToyData(test=test, training=training), threshold="validation")
    assert found["eval/temperature"] > 0
    assert found["eval/ece"] == without["eval/ece"]
    assert "eval/temperature_scaled_ece" in found
    table = pd.read_csv(tmp_path / "run" / "calibration.csv")
    assert table["temperature"].unique().tolist() == pytest.approx(
        [1.0, found["eval/temperature"]], abs=1e-6
    )
    assert f"ECE of temperature {found['eval/temperature']:.2f}" in capsys.readouterr().out


def test_intervals_are_of_recordings(run, tmp_path):
    run(ToyData(test=["cel", "cel", "cel as flu", "cel as flu", "pia"]))  # two of one recording
    row = pd.read_csv(tmp_path / "run" / "summary.csv").iloc[0]
    assert row[["recordings", "top1", "top1_low", "top1_high"]].tolist() == [3, 0.6, 0.0, 1.0]


def test_the_lines_below_the_table_are_few(run, capsys):
    run(ToyData(test=["cel", "flu"]))
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index(HOW_TO_READ) + 1
    assert lines[begin].startswith("S1, threshold 0.20: micro F1 1.000 (1.000 to 1.000), macro")
    assert len(lines[begin:]) <= 6
    ranked = "LRAP 1.000 (1.000 to 1.000), mAP 1.000 (1.000 to 1.000); ECE of S1 0.000 (highest"
    assert ranked in "\n".join(lines)
    assert "macro averages and mAP without cla, gac" in "\n".join(lines)


def test_how_far_it_stays_right(run, recognizer, capsys):
    recognizer.model.slope = nn.Parameter(torch.ones(()))
    dataset = ToyData(test=["cel", "flu", "pia as voi", "cel+flu"])
    tracker = Notebook()
    settings = {"robust_db": [0.01, 400.0], "robust_steps": 3, "robust_windows": 3}
    metrics = run(dataset, tracker=tracker, **settings)
    assert metrics["eval/robust_windows"] == 3
    found = [metrics[f"eval/robust_accuracy_{size}dB"] for size in ("0", "0.01", "400")]
    assert found == pytest.approx([2 / 3, 2 / 3, 0])
    assert tracker.metrics == metrics
    assert "evaluation/robustness.csv" in tracker.files
    assert "top-1 of 3 windows of 3 recordings: 0.667 (" in capsys.readouterr().out
    plain = run(dataset)
    assert plain == {name: x for name, x in metrics.items() if "robust" not in name}


def test_what_cannot_be_changed_is_refused_at_once(run, tmp_path):
    with pytest.raises(InputError, match="excerpts with one label, and there is"):
        run(ToyData(test=["cel+flu"]), robust_db=[1.0])
    assert not (tmp_path / "run").exists()


def test_track_level_prediction(run, recognizer, tmp_path):
    recognizer.model.any_length = True
    shapes = []
    recognizer.model.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    dataset = ToyData(test=["cel", "flu+pia", "broken gel"], training=["cel", "flu+pia"] * 20)
    metrics = run(dataset, aggregation="network")
    assert metrics["eval/micro_f1"] == metrics["eval/network_micro_f1"] == 1.0
    assert 0.1 < metrics["eval/threshold"] < 0.5  # chosen on validation: a half each of a pair
    assert {(1, 11, 65), (1, 11, 115)} <= set(shapes)  # 1.31 s and 2.31 s at once
    table = pd.read_csv(tmp_path / "run" / "scores.csv")
    assert table["aggregation"].unique().tolist() == ["s1", "s2", "max", "network"]
    assert metrics["eval/s1_micro_f1"] == 1.0  # windows are predicted, too


def test_a_threshold_of_track_level_prediction_is_taken_from_the_checkpoint(run, recognizer):
    recognizer.model.any_length = True
    recognizer.thresholds |= {"network": 0.6}
    dataset = ToyData(test=["cel", "flu+pia"])
    metrics = run(dataset, aggregation="network")
    assert metrics["eval/threshold"] == 0.6
    assert metrics["eval/micro_recall"] == pytest.approx(1 / 3)
    assert "eval/network_micro_f1" not in run(dataset)  # by s1


def test_track_level_prediction_is_refused_for_networks_that_take_windows(run):
    with pytest.raises(InputError, match="whole excerpts to a network, and LoudnessModel takes"):
        run(ToyData(test=["cel"]), aggregation="network")
