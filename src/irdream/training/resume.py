"""Resuming a training: which state is taken up, and that it is of the training that was asked for.

A state holds all settings that decide the weights. A training is resumed with the ones it began
with, so that what its run tells of it is true of all its epochs; only MAY_CHANGE may differ. The
run that is resumed stays as it was: its files are copied into the folder of the new one.
"""

from __future__ import annotations

import inspect
import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irdream.contents import content_of
from irdream.errors import InputError
from irdream.files import replacing
from irdream.recognizer import Recognizer, load_recognizer
from irdream.tracking import Tracker, flat
from irdream.training.averaging import Averaging
from irdream.training.loop import STATE, Progress
from irdream.training.losses import Loss
from irdream.training.robust import Robust

MAY_CHANGE = ("train.epochs", "train.patience", "train.mixed_precision", "device")
FOLDER = "training"  # of a run
TARGET = "_target_"
_SHOWN = 3  # differences in a message
_KEYS = ("model", "optimizer", "plan", "averaging", "progress", "settings")
_NOT_OURS = (EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError, pickle.PickleError)

Settings = dict[str, Any]


def settings_of(
    recognizer: Recognizer,
    *,
    optimizer: Callable[..., object],
    scheduler: Callable[..., object] | None,
    augmentation: object,
    loss: Loss,
    averaging: Averaging | None,
    robust: Robust | None,
    seed: int,
    **train: object,
) -> Settings:
    """Return what decides the weights besides the data, plain values by the names of their keys.

    Args:
        recognizer: untrained.
        optimizer, scheduler, augmentation, loss, averaging, robust, seed: of `tasks.train.train`.
        train: its other arguments, by the names of the keys of the section `train`.
    """
    train |= {
        "window_seconds": recognizer.window_seconds,
        "loss": loss.kind,
        "label_smoothing": loss.label_smoothing,
        "weight_averaging": averaging and averaging.rule,
        "averaging_start": averaging and averaging.start,
        "robust": robust and robust.method,
        "robust_db": robust and robust.epsilon_db,
        "robust_steps": robust and robust.steps,
        "robust_ramp_epochs": robust and robust.ramp_epochs,
        "robust_weight": robust and robust.weight,
    }
    every = {
        "model": recognizer.spec.get("model", {}) | _by_content(recognizer.not_kept),
        "frontend": recognizer.spec.get("frontend"),
        "optimizer": optimizer,
        "scheduler": scheduler or {TARGET: None},
        "augmentation": augmentation or {TARGET: None},
        "train": train,
        "seed": seed,
        "device": str(recognizer.device),
    }
    return dict(_flat("", _plain(every)))


def _by_content(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Say what files hold instead of where they are."""
    return {
        name: f"a file with the hash {content_of(value)[:12]}"
        if isinstance(value, str | Path) and Path(value).expanduser().is_file()
        else value
        for name, value in arguments.items()
    }


def folder_of_state(resume: str | Path | None, output_dir: Path) -> Path | None:
    """Return the folder with the state to resume from; None: the training begins.

    Args:
        resume: the folder of a run; None: none.
        output_dir: of this run.

    Raises:
        InputError: when there is nothing to resume; when this run's folder has a state of an
            earlier run that it does not resume.
    """
    own = output_dir / FOLDER
    if resume is None and os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        resume = output_dir if (own / STATE).is_file() else None  # the same job, requeued
    folder = None if resume is None else Path(resume).expanduser() / FOLDER
    if (own / STATE).exists() and (folder is None or folder.resolve() != own.resolve()):
        raise InputError(
            f"{str(output_dir)!r} has the state of an earlier training; expected a folder without: "
            f"name another hydra.run.dir (of a sweep hydra.sweep.dir), or resume it by "
            f"train.resume={output_dir}"
        )
    if folder is None or (folder / STATE).is_file():
        return folder
    if not _has_begun(folder.parent):
        raise InputError(
            f"nothing to resume in train.resume={str(resume)!r}; "
            f"expected the folder of a run with {FOLDER}/{STATE}"
        )
    print(f"no epoch was finished in train.resume={resume}: the training begins anew")
    return None


def _has_begun(run: Path) -> bool:
    """Say whether a run was to train, and was killed before its first epoch was saved."""
    config = run / ".hydra" / "config.yaml"
    asked = config.is_file() and "irdream.tasks.train.train" in config.read_text(errors="replace")
    return not (run / "checkpoint").exists() and (asked or (run / FOLDER).is_dir())


@dataclass(frozen=True)
class Resumed:
    """A training that is resumed.

    Args:
        folder: of its state.
        state: what it holds.
        progress: how far it was.
        changed: in words, which settings are not as they were.
        end: why nothing is left to do; empty: something is.
    """

    folder: Path
    state: dict[str, Any]
    progress: Progress
    changed: list[str]
    end: str

    @classmethod
    def read(
        cls, folder: Path, settings: Settings, device: torch.device, trust: Iterable[str]
    ) -> Resumed:
        """Return a training with these settings.

        Raises:
            InputError: when its state or its best epoch is damaged, or it has other settings.
        """
        state = _load(folder, device)
        then, progress = state["settings"], Progress(**state["progress"])
        _check(folder, then, settings)
        epochs, patience = settings["train.epochs"], settings["train.patience"]
        if epochs < progress.epoch:
            raise InputError(
                f"train.epochs={epochs} is fewer than {str(folder.parent)!r} has done; "
                f"expected {progress.epoch} or more"
            )
        load_recognizer(folder / "best", trust=list(trust))
        names = [name for name in MAY_CHANGE if then[name] != settings[name]]
        end, best = "", progress.best_epoch
        if progress.epoch == epochs:
            end = f"nothing is left to train, all {epochs} epochs are done"
        elif progress.epoch - best >= patience:
            end = f"nothing is left to train, epoch {best} is train.patience={patience} ago"
        changed = [_change(name, then, settings) for name in names]
        return cls(folder, state, progress, changed, end)

    @property
    def told(self) -> dict[str, Any]:
        """Return what a checkpoint's card tells of it."""
        return {"after_epoch": self.progress.epoch, "changed": self.changed}

    def check(self, settings: Settings) -> None:
        """Refuse settings that are not those it began with, naming what differs.

        Raises:
            InputError: when they differ.
        """
        _check(self.folder, self.state["settings"], settings)

    def take_up(self, settings: Settings, own: Path, tracker: Tracker) -> None:
        """Copy it into a run's own folder, its state last, and tell the tracker its epochs.

        Args:
            settings: of the run, now with all that is known when its data are read.
            own: the folder.
            tracker: of the run.

        Raises:
            InputError: when the settings differ.
        """
        self.check(settings)
        if self.folder.resolve() != own.resolve():
            shutil.copytree(self.folder / "best", own / "best", dirs_exist_ok=True)
            with (self.folder / STATE).open("rb") as source, replacing(own / STATE) as file:
                shutil.copyfileobj(source, file)
        for epoch, metrics in enumerate(self.progress.history, start=1):
            tracker.log_metrics(metrics, step=epoch)
        after = f"{self.folder.parent} after epoch {self.progress.epoch}"
        told = "; ".join([after, *self.changed, *filter(None, [self.end])])
        tracker.set_tags({"irdream.resumed": told})
        print(f"resumed: {told}")


def _check(folder: Path, then: Settings, now: Settings) -> None:
    differ = [name for name in now if not _agree(name, then, now)]
    # Of another class, what it takes need not be told.
    classes = [name for name in differ if name.endswith(TARGET)]
    others = tuple(name.removesuffix(TARGET) for name in classes)
    told = [name for name in differ if name in classes or not name.startswith(others)]
    if told:
        words = [_change(name, then, now) for name in told[:_SHOWN]]
        words += [f"and {len(told) - _SHOWN} more"] * (len(told) > _SHOWN)
        raise InputError(
            f"cannot resume {str(folder.parent)!r}: {'; '.join(words)}; expected "
            "the settings that it began with: give them, or train anew without train.resume"
        )


def _load(folder: Path, device: torch.device) -> dict[str, Any]:
    path = folder / STATE
    try:
        state = torch.load(path, weights_only=True, map_location=device)
        if missing := [key for key in _KEYS if key not in state]:
            raise ValueError(f"it has no {missing[0]}")
        progress = Progress(**state["progress"])
        is_whole = progress.epoch == len(progress.history) > 0
        if not (is_whole and {*MAY_CHANGE} <= set(state["settings"])):
            raise ValueError("it does not tell of a training")
    except _NOT_OURS as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot resume from {str(path)!r}: {reason}; "
            "expected the state that this version of irdream writes after an epoch"
        ) from error
    return state


def _agree(name: str, then: Settings, now: Settings) -> bool:
    """Say whether a setting is as it was, or one that follows the number of epochs."""
    if name in MAY_CHANGE or (name in then and then[name] == now[name]):
        return True
    follows = name.startswith("scheduler.") and name in then
    return follows and all(one[name] == one["train.epochs"] for one in (then, now))


def _change(name: str, then: Settings, now: Settings) -> str:
    was, is_now = (flat({name: one.get(name, "not given")})[name] for one in (then, now))
    return f"{name} was {was}, now {is_now}"


def _plain(value: Any, depth: int = 2) -> Any:
    """Return numbers, texts, lists and mappings that say what a value is made of.

    Of objects these are the class and the public attributes, down to a depth.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth) for key, item in value.items()}
    if isinstance(value, Sequence | set):
        return [_plain(item, depth) for item in value]
    if isinstance(value, Tensor | np.ndarray):
        return value.tolist()
    if isinstance(value, partial):
        return _name(value.func) | _plain(_defaults(value.func) | value.keywords, depth)
    if inspect.isroutine(value) or inspect.isclass(value):
        return _name(value) | _plain(_defaults(value), depth)
    public = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("_")}
    return _name(type(value)) | (_plain(public, depth - 1) if depth else {})


def _name(made: Any) -> dict[str, str]:
    return {TARGET: f"{made.__module__}.{made.__qualname__}"}


def _defaults(made: Callable[..., object]) -> dict[str, Any]:
    try:
        given = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):  # written in C
        return {}
    return {one.name: one.default for one in given if one.default is not one.empty}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what nested settings hold, by names such as `optimizer.lr`."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items():
        yield from _flat(f"{name}.{key}" if name else key, item)
