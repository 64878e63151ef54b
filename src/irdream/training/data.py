"""The windows of a training: of the excerpts that have labels and can be read, in two parts.

They are cut from log-mels; where the augmentation changes waveforms, training windows are cut
from these instead.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from irdream.datasets.base import (
    DataSet,
    ExcerptFile,
    Excerpts,
    announce,
    counted,
    decoding,
    listed,
    multi_hot,
    tell_skipped,
    unlabelled_words,
    warn_unlabelled,
)
from irdream.datasets.cache import LogMels, log_mels
from irdream.datasets.splits import Split, split_excerpts
from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.training.batches import PackedLogMels, WindowBatches
from irdream.training.loop import Augmentation
from irdream.training.waveform import WaveformAugmentation
from irdream.training.waveform_windows import on_waveforms

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The windows of both parts, and the excerpts they are cut from.

    Args:
        excerpts: of both parts.
        log_mels: of the excerpts.
        labels: (excerpts, instruments), 1 for what is labelled.
        training: windows to be trained on.
        validation: windows to be validated on.
        validation_excerpts: their places among the excerpts.
        augment: what makes views of training windows; None: as they are.
    """

    excerpts: Excerpts
    log_mels: LogMels
    labels: Tensor
    training: WindowBatches
    validation: WindowBatches
    validation_excerpts: list[int]
    augment: Augmentation | None

    @property
    def files(self) -> tuple[list[ExcerptFile], list[ExcerptFile]]:
        """The files for training, and for validation."""
        validated = set(self.validation_excerpts)
        parts: tuple[list[ExcerptFile], list[ExcerptFile]] = [], []
        for i, file in enumerate(self.excerpts.files):
            parts[i in validated].append(file)
        return parts


def training_data(
    excerpts: Excerpts,
    recognizer: Recognizer,
    augmentation: Augmentation | None,
    *,
    cache_dir: str | Path | None,
    split: Split,
    validation_share: float,
    batch_size: int,
    balanced: bool,
    seed: int,
) -> TrainingData:
    """Read the labelled excerpts of a training part and divide them; see `tasks.train.train`."""
    excerpts, spectrograms = analyzed(excerpts, recognizer, cache_dir)
    packed, augment = views(augmentation, excerpts, spectrograms, recognizer, cache_dir)
    training, validation = split_excerpts(
        excerpts.files, split, validation_share=validation_share, seed=seed
    )
    labels = multi_hot([file.labels for file in excerpts.files], recognizer.instruments)
    told = "no training excerpt of %s: nothing is learned of them", "no validation excerpt of %s"
    for part, words in zip((training, validation), told, strict=True):
        if absent := [recognizer.instruments[i] for i in (labels[part].sum(0) == 0).nonzero()]:
            logger.warning(words, ", ".join(absent))
    cut = partial(
        WindowBatches,
        labels=labels,
        window_frames=recognizer.window_frames,
        batch_size=batch_size,
        balanced=balanced,
    )
    return TrainingData(
        excerpts=excerpts,
        log_mels=spectrograms,
        labels=labels,
        training=cut(log_mels=packed, excerpts=training),
        validation=cut(log_mels=spectrograms, excerpts=validation),
        validation_excerpts=validation,
        augment=augment,
    )


def labelled_part(dataset: DataSet, recognizer: Recognizer) -> Excerpts:
    """Return the excerpts of the training part that have labels, all known to the recognizer."""
    excerpts = dataset.part("training", sample_rate_hz=recognizer.sample_rate_hz)
    announce(dataset)
    return excerpts.subset(_labelled(excerpts.files, dataset, recognizer))


def analyzed(
    excerpts: Excerpts, recognizer: Recognizer, cache_dir: str | Path | None
) -> tuple[Excerpts, LogMels]:
    """Return the excerpts that can be read, and their log-mels."""

    def analyze(excerpts: Excerpts) -> LogMels:
        return log_mels(
            excerpts, recognizer.frontend, device=recognizer.device, cache_dir=cache_dir
        )

    try:
        return excerpts, analyze(excerpts)
    except InputError:
        readable = _readable(excerpts)
        return readable, analyze(readable)


def training_words(
    dataset: DataSet, recognizer: Recognizer, split: Split, validation_share: float, seed: int
) -> str:
    """Say how many excerpts there are to be trained and validated on.

    Raises:
        InputError: as `training_data`, as far as nothing must be decoded.
    """
    files = listed(dataset, "training", sample_rate_hz=recognizer.sample_rate_hz)
    warn_unlabelled(files, "left out of the training")
    files = [files[i] for i in _labelled(files, dataset, recognizer)]
    parts = split_excerpts(files, split, validation_share=validation_share, seed=seed)
    return f"{len(parts[0])} training and {counted(len(parts[1]), 'validation excerpt')}"


def _labelled(files: Sequence[ExcerptFile], dataset: DataSet, recognizer: Recognizer) -> list[int]:
    """Return which files have labels; the recognizer must know all of them."""
    labelled = [i for i, file in enumerate(files) if file.labels]
    if not labelled:
        words = unlabelled_words(files) or "expected labels by the names of folders or by a CSV"
        raise InputError(f"the training part of {dataset.name!r} has no labelled excerpts; {words}")
    found = {label for file in files for label in file.labels}
    if unknown := sorted(found - set(recognizer.instruments)):
        raise InputError(
            f"labels of {dataset.name!r} that the recognizer does not know: {', '.join(unknown)}; "
            f"expected some of {', '.join(recognizer.instruments)}"
        )
    return labelled


def _readable(excerpts: Excerpts) -> Excerpts:
    """Return the excerpts that can be read; list the others."""
    good, bad = [], []
    with decoding(excerpts) as decoded:
        for i, future in enumerate(decoded):
            try:
                future.result()
                good.append(i)
            except InputError as error:
                bad.append(str(error))
    if not good:
        raise InputError(f"none of {len(bad)} training excerpts can be read; the first: {bad[0]}")
    tell_skipped(bad)
    return excerpts.subset(good)


def views(
    augmentation: Augmentation | None,
    excerpts: Excerpts,
    spectrograms: LogMels,
    recognizer: Recognizer,
    cache_dir: str | Path | None,
) -> tuple[PackedLogMels, Augmentation | None]:
    """Return what training windows are cut from, and what makes views of them."""
    if isinstance(augmentation, WaveformAugmentation):
        return on_waveforms(augmentation, excerpts, recognizer, cache_dir)
    return spectrograms, augmentation
