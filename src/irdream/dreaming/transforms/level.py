"""Views of another level: of the whole item, or of each bin."""

from __future__ import annotations

import math

from torch import Tensor

from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.dreaming.random_streams import normal, uniform
from irdream.dreaming.transforms.axes import need_spectrogram
from irdream.dreaming.transforms.base import Transform
from irdream.errors import InputError


class Gain(Transform):
    """Make each item louder or softer; of raw sound (items, samples) too.

    Args:
        db: the largest change, up or down; all are equally likely.

    Raises:
        InputError: when `db` is negative.
    """

    def __init__(self, *, db: float) -> None:
        self.db = _at_least_zero(db)

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the log-mels at another level, or the sounds."""
        change = (2.0 * uniform(keys, step, 1) - 1.0) * (self.db * NATURAL_PER_DB)
        if log_mel.ndim == 2:
            return log_mel * change.exp().to(log_mel.dtype)
        need_spectrogram(self, log_mel)
        return log_mel + change[:, :, None].to(log_mel.dtype)


class Noise(Transform):
    """Add Gaussian noise to the level of each bin and frame.

    Args:
        db: its standard deviation.

    Raises:
        InputError: when `db` is negative; for an input that is no log-mel.
    """

    def __init__(self, *, db: float) -> None:
        self.db = _at_least_zero(db)

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the log-mels with noise."""
        need_spectrogram(self, log_mel)
        noise = normal(keys, step, *log_mel.shape[1:]).to(log_mel.dtype)
        return log_mel + noise * (self.db * NATURAL_PER_DB)


def _at_least_zero(db: float) -> float:
    if not 0 <= db < math.inf:
        raise InputError(f"transform.db={db}; expected a number of at least 0, such as 3")
    return db
