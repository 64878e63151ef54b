"""A training that is resumed is the one that was begun: to the same weights, or not at all."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch.optim.lr_scheduler import CosineAnnealingLR

from irdream.checkpoint_folder import load_recognizer, new_recognizer
from irdream.datasets.folder import Folder
from irdream.errors import InputError
from irdream.processes import Interrupted
from irdream.training.augmentation import SpectrogramAugmentation
from irdream.training.losses import Loss, Robust
from tests.tiny import Notebook

Run = Callable[..., dict[str, float]]


def cosine(epochs: int) -> partial[CosineAnnealingLR]:
    return partial(CosineAnnealingLR, T_max=epochs)


@pytest.fixture
def first(run: Run, tmp_path: Path) -> Path:
    """A run of two epochs along a cosine."""
    run("first", epochs=2, scheduler=cosine(2))
    return tmp_path / "first"


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rates(folder: Path) -> list[float]:
    return pd.read_csv(folder / "history.csv")["train/learning_rate"].tolist()


def test_a_killed_run_is_resumed_from_its_folder(run: Run, tmp_path: Path) -> None:
    expected = run("whole", epochs=4, scheduler=cosine(4))
    resume = re.escape(f"to resume type the same line with train.resume={tmp_path / 'killed'}")
    with pytest.raises(Interrupted, match=resume):
        run("killed", epochs=4, scheduler=cosine(4), tracker=Notebook(last=2))
    before, tracker = content(tmp_path / "killed"), Notebook()
    resumed = run(
        "second", epochs=4, scheduler=cosine(4), resume=tmp_path / "killed", tracker=tracker
    )
    assert resumed == expected
    assert content(tmp_path / "killed") == before
    assert list(tracker.steps) == [1, 2, 3, 4]  # also those that were not trained again
    whole, second = content(tmp_path / "whole"), content(tmp_path / "second")
    assert whole.keys() == second.keys()
    for name in (
        "history.csv",
        "checkpoint/weights.safetensors",
        "training/best/weights.safetensors",
    ):
        assert whole[name] == second[name]
    one, other = (
        load_recognizer(tmp_path / name / "checkpoint", trust=["my_package"])
        for name in ("whole", "second")
    )
    assert one.thresholds == other.thresholds
    assert other.card["resumed"] == {"after_epoch": 2, "changed": []}
    assert "resumed" not in one.card


def test_a_run_is_resumed_where_it_is(run: Run, tmp_path: Path) -> None:
    expected = run("whole", epochs=3)
    with pytest.raises(KeyboardInterrupt):
        run("first", epochs=3, tracker=Notebook(last=1))
    assert run("first", epochs=3, resume=str(tmp_path / "first")) == expected


def test_a_job_that_slurm_requeues_resumes_its_own_state(run, tmp_path, monkeypatch) -> None:
    expected = run("whole", epochs=3)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(KeyboardInterrupt):
        run("job", epochs=3, tracker=Notebook(last=2))
    tracker = Notebook(last=1)
    with pytest.raises(KeyboardInterrupt):
        run("job", epochs=3, tracker=tracker)
    assert run("job", epochs=3) == expected


def test_more_epochs_go_on_from_the_rate_that_was(run, first, tmp_path, capsys) -> None:
    tracker = Notebook()
    run("more", epochs=6, scheduler=cosine(6), resume=first, tracker=tracker)
    assert rates(tmp_path / "more") == pytest.approx(
        [0.02, 0.01, 0.01, 0.01, 0.005, 0.02 * 0.0669873], abs=1e-6
    )
    told = f"{first} after epoch 2; train.epochs was 2, now 6"
    assert f"resumed: {told}\n" in capsys.readouterr().out
    assert tracker.tags == {"irdream.resumed": told}
    card = load_recognizer(tmp_path / "more" / "checkpoint", trust=["my_package"]).card
    assert card["resumed"] == {"after_epoch": 2, "changed": ["train.epochs was 2, now 6"]}


def test_two_runs_that_resume_one_do_not_meet(run: Run, first: Path, tmp_path: Path) -> None:
    before = content(first)
    one = run("0", epochs=3, scheduler=cosine(3), resume=first)
    other = run("1", epochs=4, scheduler=cosine(4), resume=first)
    assert (one["train/epochs"], other["train/epochs"]) == (3, 4)
    assert content(first) == before
    shutil.rmtree(first)  # nothing is linked to it
    again = run("2", epochs=3, scheduler=cosine(3), resume=tmp_path / "0")
    assert again == one


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "nothing is left to train, all 2 epochs are done"),
        (
            {"epochs": 9, "scheduler": cosine(9), "patience": 1, "validated": 1},
            "patience was 5, now 1; nothing is left to train, epoch 1 is train.patience=1 ago",
        ),
    ],
    ids=["all epochs", "patience"],
)
def test_where_nothing_is_left_the_result_is_returned(
    run, tmp_path, settings, told, capsys, monkeypatch
) -> None:
    losses = iter([1.0, 2.0])
    if settings.pop("validated", 0):
        monkeypatch.setattr(
            "irdream.training.loop.Fit._validate",
            lambda _: {"val/loss": next(losses), "val/top1": 0.5},
        )
    expected = run("first", epochs=2, scheduler=cosine(2))
    settings = {"epochs": 2, "scheduler": cosine(2), **settings}
    assert run("second", resume=tmp_path / "first", **settings) == expected
    assert told in capsys.readouterr().out
    for name in ("checkpoint/weights.safetensors", "history.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


# What may not differ


def another_network(tiny_frontend: dict[str, Any], **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"model": {"_target_": "my_package.MyNet"}, **changes}
    made = new_recognizer(**{"frontend": tiny_frontend, **settings}, trust=["my_package"])
    return {"recognizer": made}


ADAM, SGD = torch.optim.Adam, torch.optim.SGD
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("optimizer", {"optimizer": partial(SGD, lr=0.02)},
     r"optimizer was \S*Adam, now \S*SGD"),
    ("rate", {"lr": 0.5}, "optimizer.lr was 0.02, now 0.5"),
    ("betas", {"optimizer": partial(ADAM, lr=0.02, betas=(0.8, 0.9))},
     r"optimizer.betas was \[0.9,0.999\], now \[0.8,0.9\]"),
    ("no schedule", {"scheduler": None}, r"scheduler was \S*CosineAnnealingLR, now null"),
    ("its length", {"scheduler": cosine(5)}, "scheduler.T_max was 2, now 5"),
    ("batch", {"batch_size": 3}, "train.batch_size was 4, now 3"),
    ("loss", {"loss": Loss("categorical", 0.2)}, "train.loss.label_smoothing was 0.0, now 0.2"),
    ("robust", {"robust": Robust("fgsm")}, r"train.robust was null, now \S*Robust"),
    ("masks", {"augmentation": SpectrogramAugmentation(time_masks=1)},
     "augmentation.time_masks was 0, now 1"),
    ("seed", {"seed": 1}, "seed was 0, now 1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "difference"), [other[1:] for other in OTHERS], ids=[other[0] for other in OTHERS]
)
def test_other_settings_are_refused_by_name(run, first, tmp_path, settings, difference) -> None:
    before = content(first)
    refused(run, first, difference, **{"epochs": 2, "scheduler": cosine(2), **settings})
    assert content(first) == before
    assert not (tmp_path / "second").exists()


def refused(run: Run, first: Path, difference: str, **settings: Any) -> None:
    expected = "; expected the settings that it began with: give them, or train anew without"
    message = rf"^cannot resume {re.escape(repr(str(first)))}: .*{difference}.*{expected}"
    with pytest.raises(InputError, match=message) as error:
        run("second", resume=first, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"model": {"_target_": "my_package.MyNet", "width": 8}}, "model.width was not given, now"),
        ({"model": {"_target_": "my_package.Tied"}}, "model._target_ was .*MyNet, now .*Tied"),
        ({"window_seconds": 0.8}, "train.window_seconds was 1.0, now 0.8"),
        ({"floor": 1e-3}, "frontend.floor was not given, now 0.001"),
    ],
    ids=["width", "class", "window", "front end"],
)
def test_another_network_is_refused(run, first, tiny_frontend, changes, difference) -> None:
    if "floor" in changes:
        changes = {"frontend": tiny_frontend | changes}
    settings = another_network(tiny_frontend, **changes)
    refused(run, first, difference, epochs=2, scheduler=cosine(2), **settings)


def test_other_first_weights_are_refused_by_their_content(run, tmp_path, tiny_frontend) -> None:
    def network(weights: str) -> dict[str, Any]:
        embedding = {"_target_": "torch.nn.BatchNorm1d", "num_features": 12}
        target = {"_target_": "irdream.models.Transfer", "embedding": embedding, "features": 12}
        return another_network(tiny_frontend, model={**target, "weights": str(tmp_path / weights)})

    for name, scale in (("one", 1.0), ("same", 1.0), ("other", 2.0)):
        state = torch.nn.BatchNorm1d(12).state_dict() | {"weight": torch.full((12,), scale)}
        save_file(state, tmp_path / name)
    run("embedded", epochs=1, **network("one"))
    run("again", epochs=1, resume=tmp_path / "embedded", **network("same"))
    difference = "model.weights was a file with the hash .*, now a file with"
    refused(run, tmp_path / "embedded", difference, epochs=1, **network("other"))


@pytest.mark.parametrize(
    "change",
    [
        lambda flu: (flu / "flu3.wav").unlink(),
        lambda flu: shutil.copy(flu / "flu3.wav", flu / "flu9.wav"),
        lambda flu: (flu / "flu3.wav").rename(flu.parent / "cel" / "flu3.wav"),
        lambda flu: shutil.copy(flu / "flu3.wav", flu / "flu4.wav"),
    ],
    ids=["a file less", "a file more", "another label", "another sound"],
)
def test_other_data_in_the_same_folder_are_refused(run, sounds, tmp_path, change) -> None:
    root = tmp_path / "data"
    shutil.copytree(sounds, root)
    run("first", epochs=1, dataset=Folder(root=root))
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    run("elsewhere", resume=tmp_path / "first", epochs=2, dataset=Folder(root=moved))
    change(root / "flu")
    difference = r"dataset was 18 excerpts with .*, now 1\d excerpts"
    refused(run, tmp_path / "first", difference, epochs=2, dataset=Folder(root=root))


def test_another_validation_part_of_the_same_data_is_refused(run, first, monkeypatch) -> None:
    def other_parts(files: Any, *_: Any, **__: Any) -> tuple[list[int], list[int]]:
        return list(range(3, len(files))), [0, 1, 2]

    monkeypatch.setattr("irdream.training.data.split_excerpts", other_parts)
    difference = "the validation part was 6 excerpts with .*, now 3 excerpts"
    refused(run, first, difference, epochs=2, scheduler=cosine(2))


def test_some_differences_are_named_and_others_counted(run: Run, first: Path) -> None:
    refused(run, first, "; and 2 more", epochs=2, scheduler=cosine(2), seed=1, batch_size=3,
            balanced=True, clip_norm=1.0, lr=0.5)  # fmt: skip


def test_fewer_epochs_than_are_done(run: Run, first: Path) -> None:
    message = r"^train.epochs=1 is fewer than '.*first' has done; expected 2 or more$"
    with pytest.raises(InputError, match=message):
        run("second", epochs=1, scheduler=cosine(1), resume=first)


def test_a_default_that_is_typed_is_no_difference(run: Run, first: Path) -> None:
    betas: Any = [0.9, 0.999]  # as of a yaml
    optimizer, loss = partial(ADAM, lr=0.02, betas=betas), Loss("categorical", 0)  # not 0.0
    run("second", epochs=2, scheduler=cosine(2), optimizer=optimizer, loss=loss, resume=first)


# What cannot be resumed


def test_a_second_training_in_a_folder_is_refused(run: Run, tmp_path: Path) -> None:
    run("first", epochs=1)
    before = content(tmp_path / "first")
    run("other", epochs=1)
    message = r"^'.*first' has the state of an earlier training; .* by train.resume=.*first$"
    for settings in ({}, {"resume": tmp_path / "other"}):
        with pytest.raises(InputError, match=message):
            run("first", epochs=1, lr=0.5, **settings)
    assert content(tmp_path / "first") == before


def interrupted(run: Run, folder: Path) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("irdream.training.loop.Fit._validate", stop)
        with pytest.raises(Interrupted, match="nothing is kept yet"):
            run(folder.name, epochs=2)
    assert [path.name for path in folder.iterdir()] == ["training"]


def before_it_read_a_sound(run: Run, folder: Path) -> None:
    write(folder / ".hydra" / "config.yaml", "task:\n  _target_: irdream.tasks.train.train\n")


@pytest.mark.parametrize("begin", [interrupted, before_it_read_a_sound])
def test_before_an_epoch_was_saved_the_training_begins_anew(run, tmp_path, begin, capsys) -> None:
    folder = tmp_path / "first"
    begin(run, folder)
    expected = run("whole", epochs=2)
    assert run("second", epochs=2, resume=folder) == expected
    assert f"no epoch was finished in train.resume={folder}: the training begins anew" in (
        capsys.readouterr().out
    )


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: write(folder / ".hydra" / "config.yaml", "_target_: irdream.tasks.dream\n"),
        lambda folder: (write(folder / "training" / "x"), write(folder / "checkpoint" / "x")),
        lambda folder: folder.mkdir(),
        lambda folder: None,
    ],
    ids=["another task", "a finished run without its state", "an empty folder", "no folder"],
)
def test_nothing_to_resume(run: Run, tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "nothing")
    message = r"nothing to resume in train.resume='.*nothing'; expected the folder of a run with"
    with pytest.raises(InputError, match=message):
        run(resume=str(tmp_path / "nothing"), dataset=None)  # before it looks for a sound
    assert not (tmp_path / "run").exists()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda path: torch.save(change(torch.load(path, weights_only=True)), path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"PK what is this"),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"seed": 0, "model": Bomb(path.with_name("ran"))}, path),
        rewritten(lambda state: state["model"]),
        rewritten(lambda state: state | {"settings": {"lr": 1}, "progress": {"epoch": 3}}),
        rewritten(lambda state: state | {"progress": 7}),
    ],
    ids=["not torch's", "a list", "code", "weights alone",
         "another program's", "without progress"],
)  # fmt: skip
def test_a_state_that_is_damaged_or_foreign(run, first, damage) -> None:
    damage(first / "training" / "state.pt")
    message = r"^cannot resume from '.*state\.pt': .*; expected the state that this version of"
    with pytest.raises(InputError, match=message) as error:
        run("second", epochs=2, scheduler=cosine(2), resume=first)
    assert "\n" not in str(error.value)
    assert not (first / "training" / "ran").exists()


def test_a_run_without_its_best_epoch(run: Run, first: Path) -> None:
    (first / "training" / "best" / "weights.safetensors").unlink()
    with pytest.raises(InputError, match=r"no checkpoint at '.*best' \(weights.safetensors is mis"):
        run("second", epochs=2, scheduler=cosine(2), resume=first)
