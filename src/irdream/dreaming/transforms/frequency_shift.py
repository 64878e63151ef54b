"""A small shift in frequency, as a slight detuning."""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.dreaming.random_streams import uniform
from irdream.dreaming.transforms.axes import need_spectrogram
from irdream.dreaming.transforms.base import Transform
from irdream.dreaming.transforms.resampling import resampled
from irdream.errors import InputError


class FrequencyShift(Transform):
    """Shift each item by some mel bands; nothing wraps, the outermost band is repeated.

    Args:
        bands: the largest shift, up or down; all are equally likely. A fraction interpolates
            between two bands, which smooths.
        whole: shift by whole bands only.

    Raises:
        InputError: when `bands` is negative, or no whole number although `whole`; for an input
            that is no log-mel.
    """

    def __init__(self, *, bands: float, whole: bool = False) -> None:
        if bands < 0:
            raise InputError(f"transform.bands={bands}; expected at least 0")
        if whole and bands != int(bands):
            raise InputError(
                f"transform.bands={bands} with whole=true; expected a whole number, such as 1"
            )
        self.bands, self.whole = bands, whole

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the shifted log-mels."""
        need_spectrogram(self, log_mel)
        draws = uniform(keys, step, 1)
        if self.whole:
            shifts = (draws * (2 * self.bands + 1)).floor() - self.bands
        else:
            shifts = (2 * draws - 1) * self.bands
        bands = torch.arange(log_mel.shape[1], device=log_mel.device)
        return resampled(log_mel, bands - shifts, axis=1)
