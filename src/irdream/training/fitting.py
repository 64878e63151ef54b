"""Training of what is no network: a model that is fitted at once to windows.

Such a model is a module with, as `irdream.models.MfccSvm` has them, `max_windows`, and

    statistics(log_mel) -> Tensor                 (batch, ...), what `fit` needs of windows
    fit(statistics, labels, recordings, seed)     labels (windows, instruments)

It is a training of one epoch; what works in steps is refused where it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.training.loop import Fit, Metrics, Progress
from irdream.training.losses import ForwardPass


def is_fitted(recognizer: Recognizer) -> bool:
    """Say whether the recognizer's model is fitted at once."""
    return all(hasattr(recognizer.model, name) for name in ("statistics", "fit", "max_windows"))


def check_fitted(recognizer: Recognizer, asked: Mapping[str, object]) -> None:
    """Refuse what only networks that are trained in steps can be asked for."""
    if given := [name for name, value in asked.items() if value not in (None, False)]:
        raise InputError(
            f"{given[0]} is for networks that are trained in steps, and "
            f"{type(recognizer.model).__name__} is fitted at once; leave it out"
        )


@dataclass(kw_only=True)
class FitAtOnce(Fit):
    """A training of one epoch, in which the model is fitted; `recordings`: of all excerpts."""

    recordings: Sequence[str]

    def _train(self, epoch: int) -> Metrics:
        model: Any = self.recognizer.model
        generator = torch.Generator().manual_seed(self.seed)
        rows = self.training.drawn(generator)[: model.max_windows].numpy()
        excerpts = self.training.excerpts[rows]
        labels = self.training.labels[torch.from_numpy(excerpts)]
        statistics = torch.cat(
            [
                model.statistics(self.recognizer.network_input(some)).cpu()
                for some in self._windows(rows)
            ]
        )
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
