"""Training what is fitted at once: the same folds, checkpoint, thresholds and tables."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from irdream.datasets.folder import Folder
from irdream.errors import InputError
from irdream.measures.scoring import Scoring
from irdream.models import MfccSvm
from irdream.recognizer import Recognizer, load_recognizer, new_recognizer
from irdream.tasks.evaluate import evaluate
from irdream.tasks.train import train
from irdream.tracking import NullTracker
from irdream.training.augmentation import SpectrogramAugmentation, WaveformAugmentation
from irdream.training.averaging import Averaging
from irdream.training.fitting import is_fitted
from irdream.training.losses import Loss
from irdream.training.robust import Robust

RATE_HZ = 1000
PITCHES_HZ = {"cel": 60.0, "flu": 150.0, "voi": 330.0}
SVM = {"_target_": "irdream.models.MfccSvm", "coefficients": 6}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six notes of 2.2 s for each of three instruments, in noise; two of a recording."""
    root = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    time = np.arange(round(2.2 * RATE_HZ)) / RATE_HZ
    for code, pitch_hz in PITCHES_HZ.items():
        (root / code).mkdir()
        for take in range(6):
            note = np.sin(2 * np.pi * pitch_hz * rng.uniform(0.97, 1.03) * time)
            sound = 0.5 * note + 0.05 * rng.standard_normal(len(time))
            name = f"{code}{take // 2}__{take % 2 + 1}.wav"
            soundfile.write(root / code / name, sound, RATE_HZ)
    return root


Task = Callable[..., functools.partial[dict[str, float]]]


@pytest.fixture
def task(sounds: Path, tiny_frontend: dict[str, Any]) -> Task:
    def task(model: dict[str, Any], **settings: Any) -> functools.partial[dict[str, float]]:
        defaults: dict[str, Any] = {
            "recognizer": new_recognizer(frontend=tiny_frontend, model=model),
            "dataset": Folder(root=sounds, name="notes"),
            "optimizer": partial(torch.optim.Adam, lr=0.01),
            "scheduler": None,
            "augmentation": SpectrogramAugmentation(),
            "batch_size": 4,
            "validation_share": 0.34,
        }
        return partial(train, **{**defaults, **settings})

    return task


def test_from_sounds_to_a_checkpoint_and_its_scores(task, sounds, tmp_path, capsys) -> None:
    metrics = task(SVM)(tracker=NullTracker(), output_dir=tmp_path)
    assert set(metrics) == {
        "train/loss", "train/windows", "train/epochs", "val/loss", "val/top1"
    }  # fmt: skip
    assert metrics["val/top1"] == 1.0
    assert metrics["train/windows"] == 24  # two of each of 12 excerpts
    assert "best epoch 1 of 1: validation loss" in capsys.readouterr().out
    history = pd.read_csv(tmp_path / "history.csv").to_dict("list")
    assert history["epoch"] == [1]
    assert history["val/loss"] == pytest.approx([metrics["val/loss"]], abs=1e-6)
    assert not (tmp_path / "training" / "state.pt").exists()

    loaded = load_recognizer(tmp_path / "checkpoint")
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


def test_at_most_so_many_windows_the_same_for_a_seed(task: Task, tmp_path: Path) -> None:
    found = [
        task(SVM | {"max_windows": 15}, seed=seed)(
            tracker=NullTracker(), output_dir=tmp_path / str(i)
        )
        for i, seed in enumerate((0, 0, 1))
    ]
    assert [one["train/windows"] for one in found] == [15] * 3
    assert found[0] == found[1] != found[2]


def test_windows_are_drawn_evenly_over_instruments(task, tmp_path, sounds, monkeypatch) -> None:
    table, seen = tmp_path / "labels.csv", []
    rows = [f"cel/cel{i // 2}__{i % 2 + 1}.wav,cel" for i in range(6)]
    rows += [f"voi/voi{i}__1.wav,voi" for i in range(2)]
    table.write_text("\n".join(["file,label", *rows]))
    own = MfccSvm.fit

    def fit(self: MfccSvm, statistics: Any, labels: torch.Tensor, *others: Any) -> None:
        seen.append(labels.sum(0)[[0, 10]].tolist())
        own(self, statistics, labels, *others)

    monkeypatch.setattr(MfccSvm, "fit", fit)
    for balanced in (False, True):
        run = task(SVM, dataset=Folder(root=sounds, labels_csv=table), balanced=balanced)
        run(tracker=NullTracker(), output_dir=tmp_path / str(balanced))
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
        ({"augmentation": WaveformAugmentation(sample_rate_hz=RATE_HZ)}, "augmentation=waveform"),
    ],
)
def test_what_works_in_steps_is_refused(task, settings, name, tmp_path) -> None:
    message = rf"^{name} is for networks that are trained in steps, and MfccSvm is fitted at once"
    with pytest.raises(InputError, match=message) as error:
        task(SVM, **settings)(tracker=NullTracker(), output_dir=tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_networks_are_not_fitted(tiny_frontend: dict[str, Any]) -> None:
    def made(name: str) -> Recognizer:
        return new_recognizer(frontend=tiny_frontend, model={"_target_": f"irdream.models.{name}"})

    assert [is_fitted(made(x)) for x in ("Han2016", "MfccSvm")] == [False, True]
