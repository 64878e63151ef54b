"""What `task=train` would do: the split, the network, and a few batches of a copy of it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irdream.datasets import cache
from irdream.datasets.base import ExcerptFile, multi_hot
from irdream.datasets.cache import LogMels
from irdream.datasets.parts import split_excerpts
from irdream.recognizer import Recognizer, save_recognizer
from irdream.tasks import train as task
from irdream.tasks.info.measuring import no_trace, warm_up
from irdream.tasks.info.untouched import Sample, Untouched
from irdream.tasks.info.words import Plan, counted, line, named, place, time_line
from irdream.tasks.train_data import analyzed, views
from irdream.tasks.train_fitted import IN_STEPS, check_fitted, is_fitted
from irdream.tracking.checkpoints import check_names
from irdream.training.batches import PackedLogMels, WindowBatches
from irdream.training.loop import Fit, Progress
from irdream.training.losses import Loss

WINDOWS = {"cpu": 32}  # in a batch that is tried, at most; elsewhere as many as in any
BATCHES = 2


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What a few excerpts and batches took, in seconds.

    Attributes:
        analysis: of an excerpt.
        frames: of an excerpt, on average.
        training, validation: of a window.
        saving: after an epoch.
        progress: of the run that is resumed.

    Of a model that is fitted at once no more is measured than the analysis.
    """

    analysis: float
    frames: float
    training: float = 0.0
    validation: float = 0.0
    saving: float = 0.0
    progress: Progress = field(default_factory=Progress)

    def times(self, epochs: int, training: int, validation: int) -> dict[str, float]:
        """Return the seconds of so many epochs of so many windows, and of the thresholds."""
        heard = validation * self.validation
        return {
            "training": epochs * (training * self.training + heard + self.saving),
            "thresholds": 2 * heard,  # windows that overlap by half
        }


def plan_train(given: Mapping[str, Any]) -> Plan:
    """Return the plan of `irdream.tasks.train.train` with these arguments.

    Raises:
        InputError: as the task.
    """
    recognizer: Recognizer = given["recognizer"]
    if given["register"] is not None:
        check_names(given["register"], given["alias"])
    if is_fitted(recognizer):
        check_fitted(recognizer, *(given[name] for name in IN_STEPS))
    dataset = Untouched(given["dataset"])
    tested = _tested_lines(given, dataset)
    with no_trace() as folder:
        measured = _measure(given, dataset, folder)
    whole = dataset.part("training", sample_rate_hz=recognizer.sample_rate_hz)
    files, share = [file for file in whole.files if file.labels], given["validation_share"]
    parts = split_excerpts(files, given["split"], validation_share=share, seed=given["seed"])
    packed = None if dataset.unrendered else _cached(given, files)
    training, validation = (_window_count(part, recognizer, measured, packed) for part in parts)
    data = _data_line(given, len(parts[0]), len(parts[1]), "about " if dataset.unrendered else "")
    seconds = {
        **dataset.times,
        "reading audio": measured.analysis * len(files) if packed is None else 0.0,
    }
    if is_fitted(recognizer):
        time_of_all = time_line(seconds, "; and the fit, which is not measured", at_most=False)
        lines = [data, *dataset.lines, _fit_line(recognizer, training), *tested, time_of_all]
        return Plan((*lines, _writes_line(given)), None)
    seconds |= measured.times(_epochs_left(given, measured.progress), training, validation)
    rate = f" ({1 / measured.training:.0f} windows a second)"
    lines = [
        data,
        *dataset.lines,
        _network_line(recognizer),
        _epochs_line(given, training, measured.progress),
        _optimizer_line(given),
        *tested,
        time_line(seconds, rate),
        _writes_line(given),
    ]
    return Plan(tuple(lines), sum(seconds.values()))


def _window_count(
    part: Sequence[int], recognizer: Recognizer, measured: _Measured, packed: LogMels | None
) -> int:
    """Return how many windows some excerpts have, about where they are not analyzed yet."""
    if packed is None:
        return len(part) * max(1, round(measured.frames) // recognizer.window_frames)
    return int((packed.frames[np.asarray(part)] // recognizer.window_frames).sum())


def _epochs_left(given: Mapping[str, Any], done: Progress) -> int:
    """Return how many epochs there are at most; none where the best one is long ago."""
    if done.epoch - done.best_epoch >= given["patience"]:
        return 0
    return max(0, given["epochs"] - done.epoch)


# Measuring -----------------------------------------------------------------------------------


def _measure(given: Mapping[str, Any], dataset: Untouched, folder: Path) -> _Measured:
    """Analyze a few excerpts, and train a copy on their windows."""
    recognizer = copy.deepcopy(given["recognizer"])
    resumed = task._state_folder(given["resume"], folder)
    made = None if is_fitted(recognizer) else task._made(given["optimizer"], recognizer)
    warm_up(recognizer.eval())
    dataset.part("training", sample_rate_hz=recognizer.sample_rate_hz)
    sample, began = Sample(dataset), time.perf_counter()
    excerpts, spectrograms = analyzed(sample, recognizer, None)
    analysis = (time.perf_counter() - began) / len(excerpts) / sample.share
    frames = float(spectrograms.frames.mean()) / sample.share
    if made is None:
        return _Measured(analysis=analysis, frames=frames)
    labels = multi_hot([file.labels for file in excerpts.files], recognizer.instruments)
    packed, augment = views(given["augmentation"], excerpts, spectrograms, recognizer, None)
    few = _windows(recognizer, spectrograms, labels, given["batch_size"])
    fit = _fit(given, recognizer, made, few, resumed)
    fit.training = _windows(recognizer, packed, labels, given["batch_size"])
    fit.augment = augment
    progress = fit._resumed()
    fit.folder = folder
    fit._train(1)  # the first batches take longer
    training, validation, saving = (
        _seconds(do) for do in (lambda: fit._train(1), fit._validate, lambda: _save(fit, progress))
    )
    return _Measured(
        analysis=analysis,
        frames=frames,
        training=training / len(few),
        validation=validation / len(few),
        saving=saving,
        progress=progress,
    )


def _windows(
    recognizer: Recognizer, spectrograms: PackedLogMels, labels: Tensor, batch_size: int
) -> WindowBatches:
    """Return windows for a batch or two, the same ones again where there are too few."""
    size = min(batch_size, WINDOWS.get(recognizer.device.type, batch_size))
    each = max(1, int(spectrograms.frames.mean()) // recognizer.window_frames)
    again = range(math.ceil(BATCHES * size / each))
    return WindowBatches(
        log_mels=spectrograms,
        excerpts=[i % len(spectrograms.frames) for i in again],
        labels=labels,
        window_frames=recognizer.window_frames,
        batch_size=size,
    )


def _fit(
    given: Mapping[str, Any],
    recognizer: Recognizer,
    made: torch.optim.Optimizer,
    windows: WindowBatches,
    folder: Path,
) -> Fit:
    schedule = given["scheduler"]
    return Fit(
        recognizer=recognizer,
        optimizer=made,
        schedule=None if schedule is None else schedule(made),
        training=windows,
        validation=windows,
        augment=None,
        random_start=given["random_start"],
        epochs=given["epochs"],
        patience=given["patience"],
        seed=given["seed"],
        folder=folder,
        mixed_precision=given["mixed_precision"],
        loss=given["loss"] or Loss(),
        averaging=given["averaging"],
        clip_norm=given["clip_norm"],
        robust=given["robust"],
    )


def _save(fit: Fit, progress: Progress) -> None:
    for name in ("best", "last"):
        save_recognizer(fit.recognizer, fit.folder / name)
    fit._save(progress)


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _cached(given: Mapping[str, Any], files: Sequence[ExcerptFile]) -> LogMels | None:
    """Return the log-mels where an earlier training has left them."""
    if given["cache_dir"] is None:
        return None
    key = cache._key([file.path for file in files], given["recognizer"].settings())
    try:
        return LogMels(Path(given["cache_dir"]) / "log_mels" / f"{key}.npy")
    except (OSError, ValueError, EOFError):
        return None


# Words ---------------------------------------------------------------------------------------


def _data_line(given: Mapping[str, Any], training: int, validation: int, about: str) -> str:
    what = f"{counted(training, 'excerpt')} and {validation} for validation, by {given['split']}"
    return line("train", f"{given['dataset'].name}: {about}{what}")


def _network_line(recognizer: Recognizer) -> str:
    count = sum(p.numel() for p in recognizer.model.parameters())
    free = sum(p.numel() for p in recognizer.model.parameters() if p.requires_grad)
    some = f", {free:,} of them trained" if free < count else ""
    name = type(recognizer.model).__name__
    return line("recognizer", f"{name}, {count:,} parameters{some}; {place(recognizer)}")


def _fit_line(recognizer: Recognizer, windows: int) -> str:
    model: Any = recognizer.model
    used = counted(min(windows, model.max_windows), "window")
    return line(
        "recognizer", f"{type(model).__name__}, fitted at once to {used}; {place(recognizer)}"
    )


def _epochs_line(given: Mapping[str, Any], windows: int, done: Progress) -> str:
    batches = math.ceil(windows / given["batch_size"])
    text = (
        f"at most {given['epochs']} of {counted(batches, 'batch', 'batches')} of "
        f"{given['batch_size']} windows; ends {given['patience']} after the best"
    )
    if given["resume"] is not None:
        text += f"; goes on after epoch {done.epoch} of {given['resume']}"
    return line("epochs", text)


def _optimizer_line(given: Mapping[str, Any]) -> str:
    schedule, augmentation = given["scheduler"], given["augmentation"]
    parts = [
        named(given["optimizer"]),
        "constant rate" if schedule is None else named(schedule),
        "no augmentation" if augmentation is None else named(augmentation),
    ]
    return line("optimizer", "; ".join(parts))


def _tested_lines(given: Mapping[str, Any], dataset: Untouched) -> list[str]:
    """Say what the checkpoint is scored on; refuse what the task would refuse."""
    if not given["test"]:
        return []
    recognizer, robust_db = given["recognizer"], given["test_robust_db"]
    task._check_test(dataset, recognizer, robust_db)
    excerpts = dataset.part("test", sample_rate_hz=recognizer.sample_rate_hz)
    what = f"{counted(len(excerpts), 'excerpt')}, the test part of {dataset.name}"
    return [line("then", f"scores {what}; not in the time")]


def _writes_line(given: Mapping[str, Any]) -> str:
    tested = ", test/" if given["test"] else ""
    text = f"checkpoint/, training/, history.csv{tested}"
    if given["resume"] is not None:
        text = f"checkpoint/, history.csv{tested}; training/ in {given['resume']}"
    if given["register"] is not None:
        text += f"; registers models:/{given['register']}@{given['alias']}"
    return line("writes", text)
