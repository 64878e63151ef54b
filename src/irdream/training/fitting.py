"""Training of what is no network: a model that is fitted at once to windows.

Such a model has `statistics`, `fit` and `max_windows`, as `irdream.models.MfccSvm` has. The
fit is a training of one epoch, so that validation, checkpoint, thresholds, card and history are
those of the networks. Optimizer, schedule, masks and everything else that works in steps are not
used; what was asked for on purpose is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.training.augmentation import Augmentation, WaveformAugmentation
from irdream.training.averaging import Averaging
from irdream.training.loop import Fit, Metrics, Progress
from irdream.training.losses import ForwardPass, Loss
from irdream.training.robust import Robust


@runtime_checkable
class Fitted(Protocol):
    """A model that is fitted at once.

    Attributes:
        max_windows: that it is fitted on, at most.
    """

    max_windows: int

    def statistics(self, log_mel: Tensor) -> Tensor:
        """Return (batch, ...) of windows, all that `fit` needs to know of them."""
        ...

    def fit(self, statistics: Tensor, labels: Tensor, recordings: Sequence[str], seed: int) -> None:
        """Fit to windows with labels (windows, instruments), each of a recording."""
        ...


def is_fitted(recognizer: Recognizer) -> bool:
    """Say whether the recognizer's model is fitted at once."""
    return isinstance(recognizer.model, Fitted)


def check_fitted(
    recognizer: Recognizer,
    augmentation: Augmentation | None,
    loss: Loss | None,
    robust: Robust | None,
    averaging: Averaging | None,
    clip_norm: float | None,
    resume: str | Path | None,
) -> None:
    """Refuse what only networks that are trained in steps can be asked for.

    An augmentation by masks is there unless it is switched off, so it is left out and not refused.

    Args:
        recognizer: with a model that is fitted.
        augmentation, loss, robust, averaging, clip_norm, resume: see `tasks.train.train`.

    Raises:
        InputError: when one of them was given.
    """
    asked = {
        "augmentation=waveform": isinstance(augmentation, WaveformAugmentation) or None,
        "train.label_smoothing": (loss is not None and loss.label_smoothing > 0) or None,
        "train.robust": robust,
        "train.weight_averaging": averaging,
        "train.clip_norm": clip_norm,
        "train.resume": resume,
    }
    if given := [name for name, value in asked.items() if value is not None]:
        raise InputError(
            f"{given[0]} is for networks that are trained in steps, and "
            f"{type(recognizer.model).__name__} is fitted at once; leave it out"
        )


@dataclass(kw_only=True)
class FitAtOnce(Fit):
    """A training of one epoch, in which the model is fitted; no optimizer is used.

    Args:
        recordings: of all excerpts.
    """

    recordings: Sequence[str]

    def _train(self, epoch: int) -> Metrics:
        model: Any = self.recognizer.model
        generator = torch.Generator().manual_seed(self.seed)
        rows = self.training.drawn(generator)[: model.max_windows].numpy()
        excerpts = self.training.excerpts[rows]
        labels = self.training.labels[torch.from_numpy(excerpts)]
        statistics = torch.cat([model.statistics(some).cpu() for some in self._windows(rows)])
        model.fit(statistics, labels, [self.recordings[i] for i in excerpts], self.seed)
        forward_pass = ForwardPass(self.recognizer, self.loss)
        with torch.no_grad():
            logits = torch.cat([forward_pass.logits(some).cpu() for some in self._windows(rows)])
        loss = self.loss(self.recognizer, logits, labels).sum(dim=1).mean()
        return {"train/loss": float(loss), "train/windows": float(len(rows))}

    def _windows(self, rows: np.ndarray) -> Iterator[Tensor]:
        """Yield some of the training windows, on the device."""
        for first in range(0, len(rows), self.training.batch_size):
            windows, _ = self.training.cut(rows[first : first + self.training.batch_size])
            yield self._to_device(windows)

    def _save(self, progress: Progress) -> None:
        """Keep nothing to resume from: there is one epoch."""
