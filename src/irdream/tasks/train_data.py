"""What a training part is cut from: log-mels of the excerpts that have labels and can be read.

Where the augmentation changes waveforms, training windows are cut from these instead.
"""

from __future__ import annotations

import logging
from pathlib import Path

from irdream.datasets.ahead import decoding
from irdream.datasets.base import DataSet, Excerpts, announce
from irdream.datasets.cache import LogMels, log_mels
from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.tasks.train_waveforms import on_waveforms
from irdream.training.batches import PackedLogMels
from irdream.training.loop import Augmentation
from irdream.training.waveform import WaveformAugmentation

logger = logging.getLogger(__name__)


def analyzed(
    dataset: DataSet, recognizer: Recognizer, cache_dir: str | Path | None
) -> tuple[Excerpts, LogMels]:
    """Return the labelled excerpts of the training part that can be read, and their log-mels."""
    excerpts = dataset.part("training", sample_rate_hz=recognizer.sample_rate_hz)
    announce(dataset)
    labelled = [i for i, file in enumerate(excerpts.files) if file.labels]
    if not labelled:
        raise InputError(
            f"the training part of {dataset.name!r} has no labelled excerpts; "
            "expected labels by the names of folders or by a CSV"
        )
    excerpts = excerpts.subset(labelled)
    found = {label for file in excerpts.files for label in file.labels}
    if unknown := sorted(found - set(recognizer.instruments)):
        raise InputError(
            f"labels of {dataset.name!r} that the recognizer does not know: {', '.join(unknown)}; "
            f"expected some of {', '.join(recognizer.instruments)}"
        )

    def analyze(excerpts: Excerpts) -> LogMels:
        return log_mels(
            excerpts,
            lambda waveform: recognizer.log_mel(waveform.to(recognizer.device)),
            settings=recognizer.settings(),
            cache_dir=cache_dir,
        )

    try:
        return excerpts, analyze(excerpts)
    except InputError:
        readable = _readable(excerpts)
        return readable, analyze(readable)


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
    if bad:
        logger.warning("skipped %d unreadable excerpts:\n  %s", len(bad), "\n  ".join(bad))
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
