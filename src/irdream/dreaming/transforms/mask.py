"""Stretches of time or frequency that are taken away, so that a dream cannot hang on one place.

A masked region gets the item's own mean, so that the level around it says nothing: of each band
over time, or of each frame over the bands. The mean is part of the view and has a gradient: it is
of the dream, masked or not.

Source: D. Park et al., "SpecAugment: a simple data augmentation method for automatic speech
recognition", Interspeech 2019, section 2 (there with the mean over everything, and for training).
"""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.dreaming.random_streams import uniform
from irdream.dreaming.transforms.axes import need_spectrogram
from irdream.dreaming.transforms.base import Transform
from irdream.errors import InputError


class TimeMask(Transform):
    """Set some stretches of time to the mean of their band over all frames of the item.

    Args:
        frames: the largest width of a stretch; all whole numbers from 0 are equally likely.
        count: how many; they may overlap.

    Raises:
        InputError: when `frames` or `count` is negative; for an input that is no log-mel.
    """

    def __init__(self, *, frames: int, count: int = 1) -> None:
        self.frames, self.count = _whole("frames", frames), _whole("count", count)

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the masked log-mels."""
        need_spectrogram(self, log_mel)
        mask = _stretches(log_mel.shape[2], self.frames, self.count, keys, step)
        return torch.where(mask[:, None], log_mel.mean(dim=2, keepdim=True), log_mel)


class FrequencyMask(Transform):
    """Set some ranges of mel bands to the mean of their frame over all bands.

    Args:
        bands: the largest width of a range; all whole numbers from 0 are equally likely.
        count: how many; they may overlap.

    Raises:
        InputError: when `bands` or `count` is negative; for an input that is no log-mel.
    """

    def __init__(self, *, bands: int, count: int = 1) -> None:
        self.bands, self.count = _whole("bands", bands), _whole("count", count)

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the masked log-mels."""
        need_spectrogram(self, log_mel)
        mask = _stretches(log_mel.shape[1], self.bands, self.count, keys, step)
        return torch.where(mask[:, :, None], log_mel.mean(dim=1, keepdim=True), log_mel)


def _stretches(points: int, widest: int, count: int, keys: Tensor, step: int) -> Tensor:
    """Draw `count` stretches for each item and return where they are, (items, points)."""
    draws = uniform(keys, step, 2, count)
    widths = (draws[:, 0] * (min(widest, points) + 1)).floor()
    starts = (draws[:, 1] * (points - widths + 1)).floor()
    places = torch.arange(points, device=keys.device)[:, None]
    starts, ends = starts[:, None], (starts + widths)[:, None]
    return ((places >= starts) & (places < ends)).any(dim=2)


def _whole(name: str, value: int) -> int:
    if value < 0 or value != int(value):
        raise InputError(f"transform.{name}={value}; expected a whole number of at least 0")
    return int(value)
