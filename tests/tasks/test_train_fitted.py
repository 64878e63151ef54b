"""Training what is fitted at once: the same folds, checkpoint, thresholds and tables."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from irdream.checkpoint_folder import load_recognizer, new_recognizer
from irdream.datasets.folder import Folder
from irdream.errors import InputError
from irdream.measures.scoring import Scoring
from irdream.models import MfccSvm
from irdream.tasks.evaluate import evaluate
from irdream.tracking import NullTracker
from irdream.training.augmentation import WaveformAugmentation
from irdream.training.losses import Loss, Robust
from irdream.training.schedules import Averaging

SVM = {"_target_": "irdream.models.MfccSvm", "coefficients": 6}


@pytest.fixture
def fit(run, tiny_frontend):
    """Train a support vector machine, with more settings of its own."""

    def fit(output: str = "run", model: dict[str, Any] | None = None, **settings: Any):
        made = new_recognizer(frontend=tiny_frontend, model=SVM | (model or {}))
        return run(output, recognizer=made, **settings)

    return fit


def test_from_sounds_to_a_checkpoint_and_its_scores(fit, sounds, tmp_path, capsys, caplog) -> None:
    metrics = fit()
    assert "batch_size" not in caplog.text  # it makes no steps
    assert set(metrics) == {
        "train/loss", "train/windows", "train/epochs", "val/loss", "val/top1"
    }  # fmt: skip
    assert metrics["val/top1"] == 1.0
    assert metrics["train/windows"] == 12  # one of each excerpt
    assert "best epoch 1 of 1: validation loss" in capsys.readouterr().out
    history = pd.read_csv(tmp_path / "run" / "history.csv").to_dict("list")
    assert history["epoch"] == [1]
    assert history["val/loss"] == pytest.approx([metrics["val/loss"]], abs=1e-6)
    assert not (tmp_path / "run" / "training" / "state.pt").exists()

    loaded = load_recognizer(tmp_path / "run" / "checkpoint")
    assert loaded.spec["model"] == SVM
    assert set(loaded.thresholds) == {"s1", "s2", "max"}
    assert (loaded.card["epochs"], loaded.card["data"]["training_excerpts"]) == (1, 12)
    scores = evaluate(
        recognizer=loaded,
        dataset=Folder(root=sounds, name="notes"),
        tracker=NullTracker(),
        output_dir=tmp_path / "scores",
        scoring=Scoring(part="training"),
    )
    assert scores["eval/top1"] > 0.9


def test_at_most_so_many_windows_the_same_for_a_seed(fit) -> None:
    found = [
        fit(str(i), {"max_windows": 9}, seed=seed, validation_share=0.2)
        for i, seed in enumerate((0, 0, 1))
    ]
    assert [one["train/windows"] for one in found] == [9] * 3
    assert found[0] == found[1] != found[2]


def test_windows_are_drawn_evenly_over_instruments(fit, sounds, tmp_path, monkeypatch) -> None:
    table, seen = tmp_path / "labels.csv", []
    names = [f"cel/cel{i}.wav,cel" for i in range(6)] + [f"voi/voi{i}.wav,voi" for i in range(2)]
    table.write_text("\n".join(["file,label", *names]))
    own = MfccSvm.fit

    def spy(self: MfccSvm, statistics: Any, labels: torch.Tensor, *others: Any) -> None:
        seen.append(labels.sum(0)[[0, 10]].tolist())
        own(self, statistics, labels, *others)

    monkeypatch.setattr(MfccSvm, "fit", spy)
    for balanced in (False, True):
        fit(str(balanced), dataset=Folder(root=sounds, labels_csv=table), balanced=balanced)
    (cellos, voices), (fewer, more) = seen
    assert cellos > voices
    assert abs(fewer - more) < cellos - voices
    assert more > voices


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"loss": Loss(label_smoothing=0.1)}, "train.label_smoothing"),
        ({"robust": Robust("fgsm")}, "train.robust"),
        ({"averaging": Averaging(0.9)}, "train.weight_averaging"),
        ({"clip_norm": 1.0}, "train.clip_norm"),
        ({"resume": "somewhere"}, "train.resume"),
        ({"augmentation": WaveformAugmentation(sample_rate_hz=1000)}, "augmentation=waveform"),
    ],
)
def test_what_works_in_steps_is_refused(fit, settings, name, tmp_path: Path) -> None:
    message = rf"^{name} is for networks that are trained in steps, and MfccSvm is fitted at once"
    with pytest.raises(InputError, match=message) as error:
        fit(**settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
