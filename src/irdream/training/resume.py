"""Resuming a training: which state is taken up, and that it is of the training that was asked for.

A state holds all settings that decide the weights; only MAY_CHANGE may differ. The run that is
resumed stays as it was: its files are copied into the folder of the new one.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from irdream.checkpoint_folder import load_recognizer
from irdream.errors import InputError
from irdream.files import content_of, replacing
from irdream.recognizer import Recognizer
from irdream.tracking import Tracker, flat
from irdream.training.loop import STATE, Progress

MAY_CHANGE = ("train.epochs", "train.patience", "train.mixed_precision", "device")
FOLDER = "training"  # of a run
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
    seed: int,
    **train: object,
) -> Settings:
    """Return what decides the weights besides the data, as texts by the names of their keys."""
    files = {name: _by_content(value) for name, value in recognizer.not_kept.items()}
    every = {
        "model": recognizer.spec.get("model", {}) | files,
        "frontend": recognizer.spec.get("frontend"),
        "optimizer": optimizer,
        "scheduler": scheduler,
        "augmentation": augmentation,
        "train": train | {"window_seconds": recognizer.window_seconds},
        "seed": seed,
        "labels": " ".join(recognizer.instruments),
        "device": str(recognizer.device),
    }
    return _described("", every)


def _described(name: str, value: Any, depth: int = 3) -> Settings:
    """Return the class and arguments of a value as texts, by names such as `optimizer.lr`."""
    given: Mapping[Any, Any] | None = None
    if isinstance(value, partial):
        given, value = value.keywords, value.func
    if hasattr(value, "tolist"):  # a tensor or an array
        value = value.tolist()
    if isinstance(value, Mapping):
        return {
            key: text
            for inner, item in value.items()
            for key, text in _described(
                f"{name}.{inner}" if name else str(inner), item, depth
            ).items()
        }
    if isinstance(value, list | tuple) and any(hasattr(item, "__dict__") for item in value):
        return _described(name, dict(enumerate(value)), depth)
    if not hasattr(value, "__dict__"):
        return flat({name: value})
    if inspect.isroutine(value) or inspect.isclass(value):
        made, parts = value, _defaults(value) | dict(given or {})
    else:
        made = type(value)
        parts = {k: v for k, v in vars(value).items() if not k.startswith("_")}
    inner = _described(name, parts, depth - 1) if depth else {}
    return {name: f"{made.__module__}.{made.__qualname__}", **inner}


def _defaults(made: Callable[..., object]) -> dict[str, Any]:
    try:
        known = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):  # written in C
        return {}
    return {one.name: one.default for one in known if one.default is not one.empty}


def _is_equal(then: str | None, now: str) -> bool:
    """Say whether two settings are equal: as numbers, as texts, or as one moved irdream class."""
    with contextlib.suppress(TypeError, ValueError):
        return float(then or "") == float(now)
    if now.startswith("irdream.") and str(then).startswith("irdream."):  # it may have moved
        return str(then).rpartition(".")[2] == now.rpartition(".")[2]
    return then == now


def _by_content(value: Any) -> Any:
    """Return the hash of a path's content instead of the path; other values as they are."""
    if isinstance(value, str | Path) and (path := Path(value).expanduser()).exists():
        return f"a {'file' if path.is_file() else 'folder'} with the hash {content_of(path)[:12]}"
    return value


def folder_of_state(resume: str | Path | None, output_dir: Path) -> Path | None:
    """Return the folder with the state to resume from; None: the training begins.

    Raises InputError when there is nothing to resume, or when this run's folder has a state of an
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
    config = folder.parent / ".hydra" / "config.yaml"
    asked = config.is_file() and "irdream.tasks.train.train" in config.read_text(errors="replace")
    if (folder.parent / "checkpoint").exists() or not (asked or folder.is_dir()):
        raise InputError(
            f"nothing to resume in train.resume={str(resume)!r}; "
            f"expected the folder of a run with {FOLDER}/{STATE}"
        )
    print(f"no epoch was finished in train.resume={resume}: the training begins anew")
    return None


@dataclass(frozen=True)
class Resumed:
    """A training that is resumed: the folder of its state, what it holds, how far it was."""

    folder: Path
    state: dict[str, Any]
    progress: Progress

    @classmethod
    def read(cls, folder: Path, device: torch.device, trust: Iterable[str]) -> Resumed:
        """Read a state onto a device; raise InputError when it or its best epoch is damaged."""
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
        load_recognizer(folder / "best", trust=list(trust))
        return cls(folder, state, progress)

    def check(self, settings: Settings) -> None:
        """Raise InputError for other settings than it began with, or fewer epochs than are done."""
        differ = tuple(name for name in settings if not self._agrees(name, settings))
        # Of another class, what it takes need not be named.
        named = [n for n in differ if not any(n.startswith(f"{other}.") for other in differ)]
        if named:
            words = [self._change(name, settings) for name in named[:_SHOWN]]
            words += [f"and {len(named) - _SHOWN} more"] * (len(named) > _SHOWN)
            raise InputError(
                f"cannot resume {str(self.folder.parent)!r}: {'; '.join(words)}; expected "
                "the settings that it began with: give them, or train anew without train.resume"
            )
        if int(settings["train.epochs"]) < self.progress.epoch:
            raise InputError(
                f"train.epochs={settings['train.epochs']} is fewer than "
                f"{str(self.folder.parent)!r} has done; expected {self.progress.epoch} or more"
            )

    def _agrees(self, name: str, now: Settings) -> bool:
        """Say whether a setting is as it was, or one that follows the number of epochs."""
        then = self.state["settings"]
        if name in MAY_CHANGE or _is_equal(then.get(name), now[name]):
            return True
        follows = name.startswith("scheduler.") and name in then
        return follows and all(one[name] == one["train.epochs"] for one in (then, now))

    def _change(self, name: str, now: Settings) -> str:
        return f"{name} was {self.state['settings'].get(name, 'not given')}, now {now[name]}"

    def changed(self, settings: Settings) -> list[str]:
        """Say which settings are not as they were."""
        then = self.state["settings"]
        return [self._change(k, settings) for k in MAY_CHANGE if then[k] != settings[k]]

    def take_up(self, settings: Settings, own: Path, tracker: Tracker) -> None:
        """Copy it into a run's own folder, its state last, and tell the tracker its epochs."""
        self.check(settings)
        if self.folder.resolve() != own.resolve():
            shutil.copytree(self.folder / "best", own / "best", dirs_exist_ok=True)
            with (self.folder / STATE).open("rb") as source, replacing(own / STATE) as file:
                shutil.copyfileobj(source, file)
        for epoch, metrics in enumerate(self.progress.history, start=1):
            tracker.log_metrics(metrics, step=epoch)
        epoch, best = self.progress.epoch, self.progress.best_epoch
        words = [f"{self.folder.parent} after epoch {epoch}", *self.changed(settings)]
        patience = int(settings["train.patience"])
        if epoch == int(settings["train.epochs"]):
            words.append(f"nothing is left to train, all {epoch} epochs are done")
        elif epoch - best >= patience:
            words.append(f"nothing is left to train, epoch {best} is train.patience={patience} ago")
        tracker.set_tags({"irdream.resumed": "; ".join(words)})
        print(f"resumed: {'; '.join(words)}")
