"""Train a recognizer on the training part of a data set, validated on recordings of its own.

Files in `output_dir`: `checkpoint/` (the best epoch, with thresholds and card), `training/`
(`best/`, `last/`, `state.pt`), `history.csv`, and in `test/` what `task=evaluate` writes, where
that was asked for. Han's network trains at about 100 windows a second on two cores.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console

from irdream import __version__
from irdream.arguments import Amount, Count, Positive, Share, checked
from irdream.checkpoint_folder import load_recognizer, save_recognizer
from irdream.datasets.base import DataSet, Labelled, Mixture, counted, has_no_test, labels_of
from irdream.datasets.identity import Split, described, log_files, packed
from irdream.errors import InputError, told
from irdream.files import ExistingPath
from irdream.frontends import Waveform
from irdream.measures.recognition import choose_threshold, fit_temperature
from irdream.measures.robustness import check_robustness
from irdream.measures.scoring import AGGREGATIONS, Scoring, aggregate, window_scores
from irdream.processes import keeping
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer
from irdream.reports.tables import save_table
from irdream.tasks.evaluate import DEFAULT, evaluate
from irdream.tracking import Tracker
from irdream.tracking.store import check_names
from irdream.training.augmentation import (
    Augmentation,
    SpectrogramAugmentation,
    WaveformAugmentation,
)
from irdream.training.data import (
    TrainingData,
    is_embedded,
    labelled_part,
    training_data,
    training_words,
)
from irdream.training.loop import STATE, Fit, FitAtOnce, Metrics, Progress, check_fitted, is_fitted
from irdream.training.losses import Loss, Robust
from irdream.training.resume import FOLDER, Resumed, folder_of_state, settings_of
from irdream.training.schedules import Averaging, planned

logger = logging.getLogger(__name__)


@checked
def train(
    *,
    recognizer: Recognizer | Callable[..., Recognizer],
    dataset: DataSet,
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer],
    scheduler: Callable[[torch.optim.Optimizer], Any] | None,
    augmentation: Augmentation | None,
    tracker: Tracker,
    output_dir: Path,
    cache_dir: str | Path | None = None,
    epochs: Count = 20,
    patience: Count = 5,
    batch_size: Count = 128,
    random_start: bool = True,
    validation_share: Share = 0.15,
    mixed_precision: bool = True,
    split: Split = "recording",
    balanced: bool = False,
    loss: Loss | None = None,
    averaging: Averaging | None = None,
    clip_norm: Positive | None = None,
    robust: Robust | None = None,
    resume: ExistingPath | None = None,
    register: str | None = None,
    alias: str = "champion",
    test: bool = False,
    test_scoring: Scoring = DEFAULT,
    test_robust_db: Sequence[Amount] = (),
    test_robust_steps: Count = 20,
    test_robust_windows: Count = 256,
    seed: int = 0,
    trust: Iterable[str] = (),
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Train `recognizer`, keep the epoch of the lowest validation loss, choose its thresholds.

    Arguments that conf/config.yaml has as keys of `train` are explained there.

    Args:
        recognizer: untrained; it is changed in place. Or what builds it for `labels`, which are
            then those of the data set.
        optimizer: makes one of torch.optim from parameters.
        scheduler: makes one of torch.optim.lr_scheduler, stepped once an epoch; None: constant.
        augmentation: of log-mel windows, or a `WaveformAugmentation`; None: none.
        loss, averaging, clip_norm, robust: see `training.loop.Fit`; None: the cross-entropy of
            the probabilities, and none of the others.
        resume: the folder of a run to resume; its other arguments must be these, but for those
            that `training.resume` names. With more epochs its learning rate falls on from where
            it was.
        test_scoring, test_robust_db, ...: of the test part, see `evaluate`.
        trust: packages that the checkpoint's own model may come from.

    Returns `train/loss`, `val/loss`, `val/top1` of the best epoch, `train/epochs`; with `test` what
    `evaluate` returns, too. Raises InputError for no training part, or no test part that was asked
    for; what changes log-mels, for a network on waveforms; unreadable files only, labels that are
    unknown, nothing to resume or a run with other settings, no way to register, or whatever the
    optimizer or the scheduler refuses.
    """
    stopwatch, loss = stopwatch or Stopwatch(), loss or Loss()
    if not isinstance(recognizer, Recognizer):
        recognizer = recognizer(labels=labels_of(dataset))
    dataset = Labelled(dataset, recognizer.instruments, recognizer.sample_rate_hz)
    steps: dict[str, Any] = {
        "epochs": epochs, "patience": patience, "random_start": random_start,
        "mixed_precision": mixed_precision, "loss": loss, "averaging": averaging,
        "clip_norm": clip_norm, "robust": robust, "seed": seed,
    }  # fmt: skip
    division: dict[str, Any] = {
        "split": split, "validation_share": validation_share, "batch_size": batch_size,
        "balanced": balanced,
    }  # fmt: skip
    if register is not None:
        _check_registry(register, alias, None if info else tracker)
    if test:
        _check_test(dataset, recognizer, test_scoring, test_robust_db)
    _check_network(recognizer, augmentation, resume, steps)
    folder = folder_of_state(resume, output_dir)
    made = plan = None
    if fitted := is_fitted(recognizer):
        augmentation = None  # masks are there unless they are switched off
    else:
        made = _made(optimizer, recognizer)
        plan = planned(_made(optimizer, recognizer), scheduler, epochs)
    choices = {"optimizer": optimizer, "scheduler": scheduler, "augmentation": augmentation}
    settings = settings_of(recognizer, **choices, **division, **steps)
    resumed = Resumed.read(folder, recognizer.device, trust) if folder else None
    if resumed:
        resumed.check(settings)
    embedded = is_embedded(recognizer, augmentation, robust)
    fine_tuned = recognizer.not_kept.get("fine_tune")
    how = f"at most {counted(epochs, 'epoch')} in batches of {batch_size} windows"
    how = "fitted at once" if fitted else how + f", resuming {resume}" * bool(resumed and resume)
    how += f", starting from {fine_tuned}" * bool(fine_tuned)
    how += ", its frozen embedding computed once" * embedded
    how += ", then scored on the test part" * test
    what = training_words(dataset, recognizer, split, validation_share, seed)
    print(f"train: {what}, {how}, {recognizer.where}", flush=True)
    if info:
        return {}
    with stopwatch("finding excerpts"):
        excerpts = labelled_part(dataset, recognizer)
        settings |= {"dataset": described(excerpts.files)}
    if resumed:
        resumed.check(settings)
    with stopwatch("reading audio"):
        data = training_data(
            excerpts, recognizer, augmentation, embedded=embedded, cache_dir=cache_dir, seed=seed,
            **division,
        )  # fmt: skip
        log_files(tracker, dataset.name, data.excerpts.files, context="training")
        settings |= {"the validation part": described(data.validation_files)}
    kind: Any = Fit
    if fitted:
        kind = partial(FitAtOnce, recordings=[file.recording for file in data.excerpts.files])
        steps |= {"epochs": 1, "patience": 1, "random_start": False, "mixed_precision": False}
    fit = kind(
        recognizer=recognizer, optimizer=made, plan=plan, training=data.training,
        validation=data.validation, augment=data.augment, folder=output_dir / FOLDER,
        settings=settings, state=resumed and resumed.state, **steps,
    )  # fmt: skip
    if resumed:
        resumed.take_up(settings, fit.folder, tracker)
    with stopwatch("training"), keeping(lambda: _kept(fit.folder)):
        progress = fit.run(lambda epoch, metrics: _report(tracker, epoch, metrics))
    best = load_recognizer(fit.folder / "best", device=recognizer.device, trust=list(trust))
    _calibrate(best, data)
    by, hours = {"by": split, "validation_share": validation_share}, stopwatch.seconds["training"]
    best.card = _card(dataset, data, progress, recognizer.device)
    best.card |= {"split": by, "seed": seed, "hours": round(hours / 3600, 2)}
    if fine_tuned:
        best.card["fine_tuned_from"] = fine_tuned
    if resumed:
        changed = resumed.changed(settings)
        best.card["resumed"] = {"after_epoch": resumed.progress.epoch, "changed": changed}
    _keep(best, progress, output_dir, tracker)
    if register is not None:
        print(f"registered: checkpoint={tracker.register(register, alias=alias)}")
    metrics = {**progress.best, "train/epochs": float(progress.epoch)}
    if test:
        metrics |= evaluate(
            recognizer=best, dataset=dataset, tracker=tracker, output_dir=output_dir / "test",
            scoring=test_scoring, robust_db=test_robust_db, robust_steps=test_robust_steps,
            robust_windows=test_robust_windows, seed=seed, stopwatch=stopwatch,
        )  # fmt: skip
    return metrics


def _check_registry(register: str, alias: str, tracker: Tracker | None) -> None:
    """Refuse before the training a checkpoint's name that would be refused after it."""
    check_names(register, alias)
    if tracker is not None and tracker.run_id is None:
        raise InputError(
            f"train.register={register} needs a run that is kept; expected a tracker with a store: "
            "leave tracker=none out"
        )


def _check_test(
    dataset: DataSet, recognizer: Recognizer, scoring: Scoring, robust_db: Sequence[float]
) -> None:
    """Refuse before the training what could not be scored after it."""
    try:
        files = scoring.files(recognizer, dataset)
    except InputError as error:
        raise InputError(f"train.test=true has nothing to score: {error}") from error
    if has_no_test(dataset, files, recognizer.sample_rate_hz):
        raise InputError(
            f"train.test=true has nothing to score: {dataset.name!r} has no test part, all its "
            "excerpts are trained on; expected the folders training and test below dataset.root"
        )
    check_robustness(recognizer, files, robust_db)


def _check_network(
    recognizer: Recognizer, augmentation: Augmentation | None, resume: object, steps: dict[str, Any]
) -> None:
    """Refuse what does not suit a network: one on waveforms, one that is fitted at once, others.

    Warn of an embedding of ours that stays at random weights; others may have loaded theirs.
    """
    embedding: Any = getattr(recognizer.model, "embedding", None)
    is_random = recognizer.not_kept.get("weights", "") is None  # of one that is trained further: ""
    is_ours = type(embedding).__module__.startswith("irdream.")
    if is_ours and is_random and getattr(recognizer.model, "frozen", False):
        logger.warning(
            "model.weights=null and model.frozen=true: the head learns on an untrained embedding; "
            "name its weights, or give model.frozen=false"
        )
    on_waveforms = isinstance(recognizer.frontend, Waveform)
    if on_waveforms and isinstance(augmentation, SpectrogramAugmentation):
        raise InputError(
            "augmentation=spectrogram and a network on waveforms; expected augmentation=waveform "
            "or augmentation=none"
        )
    if on_waveforms and steps["robust"] is not None:
        raise InputError(
            "train.robust and a network on waveforms; expected null, as it changes log-mels"
        )
    if is_fitted(recognizer):
        needs_epochs = {
            "augmentation=waveform": isinstance(augmentation, WaveformAugmentation),
            "train.label_smoothing": steps["loss"].label_smoothing > 0,
            "train.robust": steps["robust"],
            "train.weight_averaging": steps["averaging"],
            "train.clip_norm": steps["clip_norm"],
            "train.resume": resume,
        }
        check_fitted(recognizer, needs_epochs)
    steps["loss"].check(recognizer)


def _card(
    dataset: DataSet, data: TrainingData, progress: Progress, device: torch.device
) -> dict[str, Any]:
    """Return a card: the data of a checkpoint, and its best epoch."""
    given = dataset.dataset if isinstance(dataset, Labelled) else dataset
    mixed = isinstance(given, Mixture)
    sets = given.datasets if mixed else {given.name: given}
    seconds: dict[str, dict[Path, float]] = {name: {} for name in sets}  # weights repeat paths
    for file, lasts in zip(data.excerpts.files, data.seconds, strict=True):
        seconds[file.name.partition("/")[0] if mixed else given.name][file.path] = lasts
    return {
        "device": str(device),
        "irdream": __version__,
        "torch": torch.__version__,
        "data": {
            "name": dataset.name,
            "sets": {
                name: {
                    "about": getattr(one, "about", one.name),
                    "hours": round(sum(seconds[name].values()) / 3600, 4),
                }
                for name, one in sets.items()
            },
            "training_excerpts": len(data.training_files),
            "validation_excerpts": len(data.validation_files),
            "training_contents": packed(data.training_files),
            "validation_contents": packed(data.validation_files),
        },
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation": {
            name.removeprefix("val/"): round(value, 4)
            for name, value in progress.best.items()
            if name.startswith("val/")
        },
    }


def _calibrate(recognizer: Recognizer, data: TrainingData) -> None:
    """Choose the temperature, then the thresholds of all aggregations, on the validation part."""
    validation = data.validation_excerpts
    truth = data.labels[validation].numpy() > 0

    def scores() -> list[np.ndarray]:
        windows = (data.windows(i, recognizer).to(recognizer.device) for i in validation)
        return list(window_scores(recognizer, windows, batch_windows=128))

    recognizer.temperature = round(fit_temperature(truth, scores(), recognizer.output), 4)
    found = scores()
    recognizer.thresholds = {
        by: choose_threshold(aggregate(found, by), truth)[0] for by in AGGREGATIONS
    }


def _keep(recognizer: Recognizer, progress: Progress, output_dir: Path, tracker: Tracker) -> None:
    """Write `checkpoint/` and history.csv, log them, and tell the best epoch."""
    save_recognizer(recognizer, output_dir / "checkpoint")
    history = pd.DataFrame(progress.history)
    history.insert(0, "epoch", range(1, len(history) + 1))
    save_table(history, output_dir / "history.csv")
    tracker.log_file(output_dir / "checkpoint")
    tracker.log_file(output_dir / "history.csv", "training")
    best = progress.best
    Console().print(
        f"best epoch {progress.best_epoch} of {progress.epoch}: "
        f"validation loss {best['val/loss']:.3f}, top-1 {best['val/top1']:.3f}"
    )


def _kept(folder: Path) -> str:
    """Say how to resume a training that is interrupted."""
    if not (folder / STATE).is_file():
        return "nothing is kept yet"
    again = shlex.quote(f"train.resume={folder.parent}")
    return f"finished epochs are kept; to resume type the same line with {again}"


def _made(
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer],
    recognizer: Recognizer,
) -> torch.optim.Optimizer:
    weights = [p for p in recognizer.model.parameters() if p.requires_grad]
    if not weights:
        raise InputError(
            f"{type(recognizer.model).__name__} has no weights to train; expected some whose "
            "requires_grad is True"
        )
    try:
        return optimizer(weights)
    except Exception as error:  # torch's, or that of one's own
        raise InputError(
            f"cannot build the optimizer: {told(error)}; change its settings"
        ) from error


def _report(tracker: Tracker, epoch: int, metrics: Metrics) -> None:
    tracker.log_metrics(metrics, step=epoch)
    losses = f"loss {metrics['train/loss']:.3f}, validation loss {metrics['val/loss']:.3f}"
    if "val/robust_loss" in metrics:
        losses += f", adversarial {metrics['val/robust_loss']:.3f}"
    Console().print(f"epoch {epoch}: {losses}, top-1 {metrics['val/top1']:.3f}")
