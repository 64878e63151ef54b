"""Training from sound files to a checkpoint, with a network that is not ours."""

import logging
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import soundfile
import torch

from irdream import checkpoint
from irdream.checkpoint_folder import load_recognizer, new_recognizer
from irdream.datasets.base import Excerpt, ExcerptFile, Excerpts, Mixture, PartName
from irdream.datasets.folder import Folder
from irdream.datasets.identity import fingerprint
from irdream.datasets.irmas import Irmas
from irdream.errors import InputError
from irdream.instruments import CODES
from irdream.measures.scoring import AGGREGATIONS, Scoring
from irdream.models import Han2016Body
from irdream.models.transfer import embed
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer
from irdream.tracking import MlflowTracker
from irdream.training.augmentation import SpectrogramAugmentation, WaveformAugmentation
from irdream.training.loop import Fit
from irdream.training.losses import Loss, Robust
from irdream.training.schedules import Averaging
from tests.tiny import Notebook

RATE_HZ = 1000
Run = Callable[..., dict[str, float]]


class Labelled:
    """Files that cannot be read, with these labels."""

    name = "labelled"

    def __init__(self, *labels: str) -> None:
        self.labels = labels

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        files = [
            ExcerptFile(path=Path(f"{i}.wav"), name=str(i), labels=(label,), recording=str(i))
            for i, label in enumerate(self.labels)
        ]
        return Excerpts(files, self.load)

    def load(self, path: Path) -> torch.Tensor:
        raise InputError(f"'{path}' is cut off; copy it again")


UNREAD = {"dataset": Labelled("cel")}


def test_from_sounds_to_a_checkpoint(run, sounds, tmp_path, capsys) -> None:
    tracker, stopwatch = Notebook(), Stopwatch()
    metrics = run(tracker=tracker, stopwatch=stopwatch)
    assert set(metrics) == {
        "train/loss", "train/learning_rate", "train/epochs", "val/loss", "val/top1",
    }  # fmt: skip
    assert metrics["val/top1"] >= 0.8
    assert metrics["train/epochs"] == 6

    history = pd.read_csv(tmp_path / "run" / "history.csv").to_dict("list")
    assert history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert min(history["val/loss"]) == pytest.approx(metrics["val/loss"], abs=1e-6)
    assert list(tracker.steps) == [1, 2, 3, 4, 5, 6]
    logged = tracker.over_steps("train/loss")
    assert history["train/loss"] == pytest.approx(logged, abs=1e-6)
    assert tracker.files == ["checkpoint", "training/history.csv"]

    [(name, digest, about)] = tracker.data
    assert name == "notes"
    assert digest == fingerprint(Folder(root=sounds).part("training", sample_rate_hz=1).files)
    assert about == {"context": "training", "source": str(sounds), "excerpts": 18}

    best = 1 + int(np.argmin(history["val/loss"]))
    assert f"best epoch {best} of 6: validation loss" in capsys.readouterr().out
    assert set(stopwatch.seconds) == {"finding excerpts", "reading audio", "training"}


def test_the_checkpoint_is_whole(run: Run, tmp_path: Path, sounds: Path) -> None:
    metrics = run()
    loaded = load_recognizer(tmp_path / "run" / "checkpoint", trust=["my_package"])
    assert set(loaded.thresholds) == set(AGGREGATIONS)
    assert all(0 < threshold < 1 for threshold in loaded.thresholds.values())
    assert 0.05 <= loaded.temperature <= 20
    assert loaded.temperature != 1
    card = loaded.card
    told = {"name": "notes", "training_excerpts": 12, "validation_excerpts": 6}
    assert told.items() <= card["data"].items()
    assert card["data"]["sets"] == {"notes": {"about": "notes", "hours": 0.008}}  # 18 of 1.6 s
    assert [len(card["data"][f"{part}_contents"]) for part in ("training", "validation")] == [
        96,
        48,
    ]
    assert card["split"] == {"by": "recording", "validation_share": 0.34}
    assert card["validation"]["top1"] == pytest.approx(metrics["val/top1"], abs=1e-4)
    assert {"irdream", "torch", "seed", "device", "epochs", "best_epoch", "hours"} <= set(card)
    excerpts = Folder(root=sounds).part("training", sample_rate_hz=RATE_HZ)
    right = sum(heard(loaded, excerpt) in excerpt.labels for excerpt in excerpts)
    assert right >= 15  # of 18


def test_the_card_of_a_mixture_names_each_data_set(run, sounds, tmp_path) -> None:
    some, same = Folder(root=sounds, name="some"), Irmas(root=sounds)
    same.part = Folder(root=sounds).part
    run(dataset=Mixture(datasets={"own": some, "irmas": same}, weights={"irmas": 2}), epochs=1)
    card = load_recognizer(tmp_path / "run" / "checkpoint", trust=["my_package"]).card
    assert card["data"]["sets"] == {
        "own": {"about": "some", "hours": 0.008},
        "irmas": {"about": same.about, "hours": 0.008},
    }
    assert "CC BY-NC-SA 3.0" in same.about


def test_a_checkpoint_is_trained_further(run, tmp_path, capsys) -> None:
    before = run()
    first = tmp_path / "run" / "checkpoint"
    untrained = checkpoint.new(
        frontend={}, model={}, fine_tune=str(first), device="cpu", trust=["my_package"]
    )
    after = run("further", recognizer=untrained, epochs=1, lr=1e-4)
    assert f"1 epoch in batches of 4 windows, starting from {first}" in capsys.readouterr().out
    assert after["val/loss"] < before["val/loss"] + 0.05  # an untrained one begins at 2.4
    card = load_recognizer(tmp_path / "further" / "checkpoint", trust=["my_package"]).card
    assert card["fine_tuned_from"] == str(first)


def test_the_best_epoch_is_kept_and_reported(run, tmp_path, monkeypatch) -> None:
    losses = iter([2.0, 1.0, 3.0])
    monkeypatch.setattr(Fit, "_validate", lambda _: {"val/loss": next(losses), "val/top1": 0.5})
    metrics = run(epochs=3)
    assert (metrics["val/loss"], metrics["train/epochs"]) == (1.0, 3)
    folder = tmp_path / "run"
    card = load_recognizer(folder / "checkpoint", trust=["my_package"]).card
    assert (card["best_epoch"], card["epochs"], card["validation"]["loss"]) == (2, 3, 1.0)
    kept, best, last = (
        (folder / name / "weights.safetensors").read_bytes()
        for name in ("checkpoint", "training/best", "training/last")
    )
    assert kept == best
    assert kept != last


@pytest.fixture
def both_parts(sounds: Path, tmp_path: Path) -> Path:
    """A folder with a test part: one note of each instrument, the others for training."""
    root = tmp_path / "parts"
    for path in sounds.rglob("*.wav"):
        part = root / ("test" if path.stem.endswith("5") else "training") / path.parent.name
        part.mkdir(parents=True, exist_ok=True)
        (part / path.name).symlink_to(path)
    return root


def test_the_checkpoint_is_scored_on_the_test_part(run, both_parts, tmp_path) -> None:
    metrics = run(
        dataset=Folder(root=both_parts, name="tested"), test=True,
        test_scoring=Scoring(aggregation="s2", threshold=0.75), test_robust_db=[0.0, 20.0],
        test_robust_steps=2, test_robust_windows=2,
    )  # fmt: skip
    assert (metrics["eval/s2_threshold"], metrics["eval/robust_windows"]) == (0.75, 2)
    changed = pd.read_csv(tmp_path / "run" / "test" / "robustness.csv")
    assert changed["steps"].tolist() == [0, 2]
    assert metrics["eval/micro_f1"] > 0.6
    assert metrics["eval/robust_accuracy_0dB"] > metrics["eval/robust_accuracy_20dB"]
    assert {"train/epochs", "val/loss", "eval/top1", "eval/macro_f1"} <= set(metrics)
    assert (metrics["eval/trained_on"], metrics["eval/validated_on"]) == (0, 0)
    assert "eval/no_test_part" not in metrics
    scores = pd.read_csv(tmp_path / "run" / "test" / "predictions.csv")
    assert len(scores) == 3


def test_players_that_nobody_knows_are_not_kept_whole(run: Run, sounds: Path) -> None:
    with pytest.raises(InputError, match=r"^split=source and no excerpt of 'folder' says who"):
        run(dataset=Folder(root=sounds), split="source")

    class OneEach(Folder):
        def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
            part = super().part(name, sample_rate_hz=sample_rate_hz)
            return Excerpts(
                [replace(file, source=file.labels[0]) for file in part.files], part.load
            )

    message = r"^split=source leaves no excerpt of \w+ \(\w+\) to train on, as each instrument has"
    with pytest.raises(InputError, match=message):
        run(dataset=OneEach(root=sounds), split="source")


def test_nothing_to_test_on(run: Run, sounds: Path, both_parts: Path, tmp_path: Path) -> None:
    class Untested(Folder):
        def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
            part = super().part(name, sample_rate_hz=sample_rate_hz)
            return part if name == "training" else part.subset([])

    expected = r"^train\.test=true has nothing to score: the test part of 'folder' is empty"
    with pytest.raises(InputError, match=expected):
        run(dataset=Untested(root=sounds), test=True)
    expected = r"^train\.test=true has nothing to score: 'folder' has no test part, all its ex"
    with pytest.raises(InputError, match=expected):
        run(dataset=Folder(root=sounds), test=True)
    expected = r"^train\.test=true has nothing to score: evaluate\.aggregation=network"
    with pytest.raises(InputError, match=expected):
        run(dataset=Folder(root=both_parts), test=True, test_scoring=Scoring(aggregation="network"))
    with pytest.raises(InputError, match=r"^test_robust_db=\[-1\.0\]; expected a list of n"):
        run(dataset=Folder(root=both_parts), test=True, test_robust_db=[-1.0])
    assert not (tmp_path / "run" / "training").exists()


def test_with_everything_switched_on(run, tmp_path, tiny_frontend) -> None:
    net = {"_target_": "my_package.MyNet", "output": "sigmoid"}
    settings: dict[str, Any] = {
        "split": "excerpt", "balanced": True, "loss": Loss("binary", 0.05), "clip_norm": 5.0,
        "robust": Robust("fgsm", epsilon_db=0.5),
        "augmentation": SpectrogramAugmentation(union=True, time_masks=1, band_masks=1),
    }  # fmt: skip

    def train_it(output: str, **more: Any) -> dict[str, float]:
        torch.manual_seed(0)
        made = new_recognizer(frontend=tiny_frontend, model=net, trust=["my_package"])
        return run(output, recognizer=made, averaging=Averaging(0.9), **settings, **more)

    expected = train_it("whole", epochs=4)
    train_it("first", epochs=2)
    assert train_it("second", epochs=4, resume=tmp_path / "first") == expected
    assert {"val/robust_loss", "val/robust_top1"} <= set(expected)
    loaded = load_recognizer(tmp_path / "whole" / "checkpoint", trust=["my_package"])
    assert loaded.output == "sigmoid"
    assert loaded.card["validation"]["robust_top1"] == round(expected["val/robust_top1"], 4)


def test_the_line_of_an_epoch_tells_the_adversarial_loss(run, capsys) -> None:
    metrics = run(epochs=1, robust=Robust("fgsm", epsilon_db=0.5))
    told = (
        f"validation loss {metrics['val/loss']:.3f}, adversarial {metrics['val/robust_loss']:.3f}"
    )
    assert told in capsys.readouterr().out
    run("plain", epochs=1)
    assert "adversarial" not in capsys.readouterr().out


def test_waveforms_are_changed_and_heard_again(run: Run, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "augmentation": WaveformAugmentation(sample_rate_hz=RATE_HZ, room_seconds=(0.05, 0.1)),
        "cache_dir": tmp_path / "cache",
    }
    expected = run("whole", epochs=8, **settings)
    assert expected["val/loss"] < 1.6  # of a chance of 2.4
    run("first", epochs=5, **settings)
    assert run("second", epochs=8, resume=tmp_path / "first", **settings) == expected
    assert len(list((tmp_path / "cache" / "log_mels").glob("*.bin"))) == 2  # and the waveforms


def heard(recognizer: Any, excerpt: Excerpt) -> str:
    with torch.no_grad():
        logits = recognizer.window_logits(recognizer.log_mel(excerpt.waveform[None]))
    return CODES[int(recognizer.probabilities(logits).mean(1).argmax())]


@pytest.mark.parametrize(
    ("changes", "count"), [({}, 1), ({"frozen": False}, 0), ({"weights": "w.safetensors"}, 0)]
)
def test_an_embedding_that_stays_at_random_weights_is_warned_of(
    changes, count, run: Run, tmp_path: Path, tiny_frontend, caplog, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = {"_target_": "irdream.models.Han2016Body"}
    safetensors.torch.save_file(Han2016Body().state_dict(), "w.safetensors")
    spec = {"_target_": "irdream.models.Transfer", "embedding": body, "features": 256, **changes}
    run(recognizer=new_recognizer(frontend=tiny_frontend, model=spec), info=True)
    message = "model.weights=null and model.frozen=true: the head learns on an untrained embedding"
    assert caplog.text.count(message) == count


@pytest.mark.slow
def test_a_frozen_embedding_is_computed_once(
    run: Run, tmp_path: Path, tiny_frontend: dict[str, Any], monkeypatch, capsys
) -> None:
    """And the head that is trained on its features gives the same on log-mels."""
    seen: list[int] = []
    forward = Han2016Body.forward

    def counted(self: Han2016Body, log_mel: torch.Tensor) -> torch.Tensor:
        seen.append(len(log_mel))
        return forward(self, log_mel)

    monkeypatch.setattr(Han2016Body, "forward", counted)
    body = {"_target_": "irdream.models.Han2016Body"}
    spec = {"_target_": "irdream.models.Transfer", "embedding": body, "features": 256}
    fixed: dict[str, Any] = {"augmentation": None, "random_start": False, "seed": 3}

    def trained(name: str, hidden: int = 0, **settings: Any) -> tuple[float, Recognizer]:
        torch.manual_seed(0)
        made = new_recognizer(frontend=tiny_frontend, model=spec | {"hidden": hidden})
        loss = run(name, recognizer=made, **{**fixed, **settings})["val/loss"]
        return loss, load_recognizer(tmp_path / name / "checkpoint")

    loss, loaded = trained("embedded", cache_dir=tmp_path / "cache")
    assert "its frozen embedding computed once" in capsys.readouterr().out
    assert sum(seen) == 18 * 3  # windows of 1 s in 1.6 s, that overlap by half
    trained("again", hidden=4, cache_dir=tmp_path / "cache", epochs=2)
    assert sum(seen) == 18 * 3
    history = pd.read_csv(tmp_path / "embedded" / "history.csv")
    with torch.no_grad():
        log_mel = loaded.log_mel(torch.randn(1, RATE_HZ))
        embedded = embed(loaded.model.get_submodule("embedding"), log_mel, 256)
        torch.testing.assert_close(loaded.model(embedded), loaded.model(log_mel))
    assert history["val/loss"].iloc[-1] < history["val/loss"].iloc[0]
    assert loss == pytest.approx(history["val/loss"].min(), abs=1e-6)  # of six decimals
    trained("moved", augmentation=SpectrogramAugmentation(), epochs=1)
    assert sum(seen) > 18 * 3 + 18  # the windows themselves


def test_what_is_shorter_than_a_window_is_left_out(run: Run, tiny_frontend, caplog, sounds) -> None:
    made = new_recognizer(
        frontend=tiny_frontend, model={"_target_": "irdream.models.Light"}, window_seconds=1.5
    )
    short = sounds / "voi" / "short.wav"
    soundfile.write(short, np.linspace(0, 1, 1200), RATE_HZ)
    try:
        run(recognizer=made, epochs=1)
    finally:
        short.unlink()
    assert re.search(r"short.wav' is too short: 1.200 s, at least 1.480 s expected", caplog.text)


def test_a_registered_checkpoint_is_loaded_by_its_names(run, tmp_path, capsys, monkeypatch) -> None:
    store = tmp_path / "mlruns"
    for output, seed in (("one", 0), ("two", 1)):
        with MlflowTracker(root=store) as tracker:
            run(output, epochs=1, seed=seed, tracker=tracker, register="notes", alias="best")
    assert capsys.readouterr().out.count("registered: checkpoint=models:/notes@best\n") == 2

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something is unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"),
                         (torch, "load")):  # fmt: skip
        monkeypatch.setattr(module, name, refuse)
    for address, folder in (("@best", "two"), ("/1", "one"), ("/2", "two")):
        loaded = checkpoint.load(
            path=f"models:/notes{address}", device="cpu", trust=["my_package"], store=store
        )
        of_run = load_recognizer(tmp_path / folder / "checkpoint", trust=["my_package"])
        assert loaded.card == of_run.card
        assert {k: v.tolist() for k, v in loaded.model.state_dict().items()} == {
            k: v.tolist() for k, v in of_run.model.state_dict().items()
        }
    message = r"no checkpoint folder at models:/notes@champion in the tracking store .*; see"
    with pytest.raises(InputError, match=message):
        checkpoint.load(path="models:/notes@champion", device="cpu", store=store)


def test_a_checkpoint_that_the_store_refuses_is_not_lost(run: Run, tmp_path: Path) -> None:
    class Refusing(Notebook):
        run_id = "0123"

        def register(self, name: str, *, alias: str = "", path: str = "") -> str:
            raise InputError("tracking store is full; free some space there")

    tracker = Refusing()
    with pytest.raises(InputError, match="tracking store is full"):
        run(tracker=tracker, epochs=1, register="notes")
    assert tracker.files == ["checkpoint", "training/history.csv"]
    assert load_recognizer(tmp_path / "run" / "checkpoint", trust=["my_package"]).thresholds


def test_bad_files_are_skipped_and_listed(run, tmp_path, sounds, caplog) -> None:
    (tmp_path / "sounds").mkdir()
    for folder in sounds.iterdir():
        (tmp_path / "sounds" / folder.name).symlink_to(folder)
    bad = tmp_path / "sounds" / "pia"
    bad.mkdir()
    (bad / "no sound.wav").write_bytes(b"RIFF")
    soundfile.write(bad / "short.wav", np.linspace(0, 1, 100), RATE_HZ)
    dataset = Folder(root=tmp_path / "sounds", name="some")
    with caplog.at_level(logging.WARNING):
        run(dataset=dataset, epochs=1)
    assert "skipped 2 excerpts" in caplog.text
    assert "no sound.wav' is not readable as sound" in caplog.text
    assert "short.wav' is too short" in caplog.text
    card = load_recognizer(tmp_path / "run" / "checkpoint", trust=["my_package"]).card
    assert card["data"]["training_excerpts"] + card["data"]["validation_excerpts"] == 18


def test_a_second_run_decodes_nothing(run, tmp_path, monkeypatch) -> None:
    first = run("first", epochs=1, cache_dir=tmp_path / "cache")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the second run decodes a file")

    monkeypatch.setattr(Excerpts, "__getitem__", refuse)
    assert run("second", epochs=1, cache_dir=tmp_path / "cache") == first


def test_unlabelled_files_are_left_out_and_told(run, tmp_path, sounds, caplog) -> None:
    table = tmp_path / "labels.csv"
    rows = [f"{code}/{code}{take}.wav,{code}" for code in ("cel", "flu") for take in range(4)]
    table.write_text("\n".join(["file,label", *rows]))
    run(dataset=Folder(root=sounds, labels_csv=table), epochs=1)
    card = load_recognizer(tmp_path / "run" / "checkpoint", trust=["my_package"]).card
    assert card["data"]["training_excerpts"] + card["data"]["validation_excerpts"] == 8
    told = "left out of the training: 10 of 18 files have no label: 6 in 'voi', 2 in 'cel', 2 in 'f"
    assert caplog.text.count(told) == 1


def test_few_steps_an_epoch_are_told(run, sounds, caplog) -> None:
    run(dataset=Folder(root=sounds), epochs=1, batch_size=128)
    assert re.search(r"(\d+) windows in batches of 128 are 1 step an epoch; a batch_", caplog.text)


def test_instruments_without_an_excerpt_are_told(run, sounds, tmp_path, caplog) -> None:
    root = tmp_path / "sounds"
    for code, takes in (("cel", 6), ("flu", 6), ("voi", 1)):
        (root / code).mkdir(parents=True)
        for take in range(takes):
            (root / code / f"{take}.wav").symlink_to(sounds / code / f"{code}{take}.wav")
    run(dataset=Folder(root=root), epochs=1)
    assert "no training excerpt of cla, gac, gel, org, pia, sax, tru, vio: noth" in caplog.text
    assert "no validation excerpt of cla, gac, gel, org, pia, sax, tru, vio, voi\n" in caplog.text


def test_a_network_without_weights_to_train_is_refused(run, tiny_frontend, my_package) -> None:
    recognizer = new_recognizer(
        frontend=tiny_frontend, model={"_target_": "my_package.MyNet"}, trust=["my_package"]
    )
    recognizer.model.requires_grad_(False)
    with pytest.raises(
        InputError, match=r"^MyNet has no weights to train; expected some whose req"
    ):
        run(recognizer=recognizer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": Labelled()},
         "the training part of 'labelled' has no labelled excerpts; expected lab"),
        ({"dataset": Labelled("oud", "bag")},
         "part of 'labelled' that the recognizer does not know: bag, oud; expected some of cel"),
        ({"dataset": Labelled("cel", "flu")},
         "none of 2 training excerpts can be read; the first: '0.wav' is cut off; copy it again"),
        ({"lr": -1.0}, "cannot build the optimizer: Invalid learning rate: -1.0; change"),
        ({"split": "artist"}, "split=artist; expected recording"),
        ({"loss": Loss("binary")}, r"train.loss=binary needs sigm"),
        ({"clip_norm": 0.0}, "clip_norm=0.0; expected a number above 0"),
        ({"epochs": 0}, "epochs=0; expected a whole number, at least 1"),
        ({"batch_size": 0}, "batch_size=0; expected a whole number, at least 1"),
        ({"validation_share": 1.5}, "validation_share=1.5; expected a number between 0 and 1"),
        # before any sound is read
        ({"register": "notes"} | UNREAD, r"train.register=notes needs a run .* tracker=none"),
        ({"register": "my/net"} | UNREAD, r"train.register='my/net'; expected a name of letters"),
        ({"register": "notes", "alias": "v2"} | UNREAD, r"train.alias='v2'; expected a word of"),
    ],
    ids=["no excerpts", "unknown labels", "nothing readable", "optimizer", "split", "loss", "clip",
         "epochs", "batch size", "share", "nowhere to register", "bad name", "alias"],
)  # fmt: skip
def test_what_cannot_be_trained(run, settings, message, tmp_path) -> None:
    with pytest.raises(InputError, match=message) as error:
        run(**settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
