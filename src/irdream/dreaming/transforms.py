"""Random views of a log-mel before the network gets it: each item its own, in each step another.

All keep the shape and are differentiable. Most need the bands and frames of a log-mel; a network
on raw sound (items, samples) takes a jitter or a gain.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from irdream.arguments import Amount, Natural, checked
from irdream.audio.stft import NATURAL_PER_DB
from irdream.dreaming.random_streams import normal, substream, uniform
from irdream.errors import InputError

__all__ = [
    "Chain", "FrequencyMask", "FrequencyShift", "Gain", "Jitter", "Noise", "Scale", "TimeMask",
    "Transform", "with_jitter",
]  # fmt: skip


class Transform(ABC):
    """A random view of log-mels; it raises an InputError for what it cannot view."""

    takes_sound = False  # whether it views raw sound (items, samples), too

    @abstractmethod
    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the view, of the same shape.

        Args:
            log_mel: (items, n_mels, frames), natural log of the magnitude.
            keys: of the items' random streams, (items,); see `random_streams`.
            step: of the ascent.
        """


@dataclass
class Chain(Transform):
    """One view after the other, each with random numbers of its own.

    Raw sound (items, samples) is viewed by those that can, a jitter and a gain.
    """

    transforms: Sequence[Transform]
    takes_sound = True

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        for i, transform in enumerate(self.transforms):
            if log_mel.ndim > 2 or transform.takes_sound:
                log_mel = transform(log_mel, substream(keys, i), step)
        return log_mel


@checked
@dataclass(kw_only=True)
class Jitter(Transform):
    """Shift each item circularly by up to so many frames, all equally likely, as in DeepDream."""

    frames: Natural
    takes_sound = True

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        frames = log_mel.shape[-1]
        shifts = (uniform(keys, step, 1) * (2 * self.frames + 1)).long() - self.frames
        index = (torch.arange(frames, device=log_mel.device) - shifts) % frames
        index = index.view(len(log_mel), *(1,) * (log_mel.ndim - 2), frames)
        return log_mel.gather(-1, index.expand_as(log_mel))


def with_jitter(transform: Transform | None, frames: int) -> Transform | None:
    """Return a view after a jitter; as it is where `frames` is 0."""
    if not frames:
        return transform
    return Chain([Jitter(frames=frames), *([transform] if transform else [])])


@checked
@dataclass(kw_only=True)
class FrequencyShift(Transform):
    """Shift each item by some mel bands; nothing wraps, the outermost band is repeated.

    A fraction interpolates between two bands, which smooths.
    """

    bands: Amount  # the largest shift, up or down; all are equally likely
    whole: bool = False  # shift by whole bands only; `bands` is a whole number then

    def __post_init__(self) -> None:
        if self.whole and self.bands != int(self.bands):
            raise InputError(
                f"transform.bands={self.bands} with whole=true; expected a whole number, such as 1"
            )

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        _need_spectrogram(self, log_mel)
        draws = uniform(keys, step, 1)
        if self.whole:
            shifts = (draws * (2 * self.bands + 1)).floor() - self.bands
        else:
            shifts = (2 * draws - 1) * self.bands
        bands = torch.arange(log_mel.shape[1], device=log_mel.device)
        return _at(log_mel, bands - shifts, axis=1)


@dataclass(kw_only=True)
class Scale(Transform):
    """Scale each item about its center, each axis by a factor of its own.

    Above 1 it is stretched and its edges are lost; below 1 it is shrunk and its edges repeated.
    """

    mels: Sequence[float] = (1.0, 1.0)  # least and largest factor, above 0; all are equally likely
    frames: Sequence[float] = (1.0, 1.0)  # the same in time

    def __post_init__(self) -> None:
        for name, factors in (("mels", self.mels), ("frames", self.frames)):
            if not (len(factors) == 2 and 0 < factors[0] <= factors[1] < math.inf):
                raise InputError(
                    f"transform.{name}={list(factors)}; expected [least, most] above 0, such as "
                    "[0.95, 1.05]"
                )
        self.mels, self.frames = tuple(map(float, self.mels)), tuple(map(float, self.frames))

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        _need_spectrogram(self, log_mel)
        draws = uniform(keys, step, 2)
        for axis, (least, most) in ((1, self.mels), (2, self.frames)):
            if least == most == 1.0:
                continue
            factors = least + draws[:, axis - 1, None] * (most - least)
            center = (log_mel.shape[axis] - 1) / 2
            points = torch.arange(log_mel.shape[axis], device=log_mel.device) - center
            log_mel = _at(log_mel, center + points / factors, axis=axis)
        return log_mel


@checked
@dataclass(kw_only=True)
class Gain(Transform):
    """Make each item louder or softer by up to so many dB; of raw sound (items, samples) too."""

    db: Amount
    takes_sound = True

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        change = (2.0 * uniform(keys, step, 1) - 1.0) * (self.db * NATURAL_PER_DB)
        if log_mel.ndim == 2:
            return log_mel * change.exp().to(log_mel.dtype)
        _need_spectrogram(self, log_mel)
        return log_mel + change[:, :, None].to(log_mel.dtype)


@checked
@dataclass(kw_only=True)
class Noise(Transform):
    """Add Gaussian noise, of a standard deviation in dB, to the level of each bin and frame."""

    db: Amount

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        _need_spectrogram(self, log_mel)
        noise = normal(keys, step, *log_mel.shape[1:]).to(log_mel.dtype)
        return log_mel + noise * (self.db * NATURAL_PER_DB)


@checked
@dataclass(kw_only=True)
class TimeMask(Transform):
    """Set some stretches of time to the mean of their band, so that a dream needs no one place.

    Source: SpecAugment (Park et al., Interspeech 2019), section 2.
    """

    frames: Natural  # the largest width of a stretch; all whole numbers from 0 are equally likely
    count: Natural = 1  # how many; they may overlap

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        _need_spectrogram(self, log_mel)
        return _masked(log_mel, uniform(keys, step, 2, self.count), self.frames, axis=2)


@checked
@dataclass(kw_only=True)
class FrequencyMask(Transform):
    """Set some ranges of mel bands to the mean of their frame, as `TimeMask` does in time."""

    bands: Natural
    count: Natural = 1

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        _need_spectrogram(self, log_mel)
        return _masked(log_mel, uniform(keys, step, 2, self.count), self.bands, axis=1)


def robust_views() -> Chain:
    """Return many random views at once, under all of which a dream has to hold."""
    scale = Scale(mels=(0.98, 1.02), frames=(0.9, 1.1))
    levels = Gain(db=6.0), Noise(db=2.0)
    masks = TimeMask(frames=8), FrequencyMask(bands=12)
    return Chain([Jitter(frames=8), scale, FrequencyShift(bands=1.0), *levels, *masks])


def _need_spectrogram(transform: Transform, log_mel: Tensor) -> None:
    if log_mel.ndim != 3:
        raise InputError(
            f"transform {type(transform).__name__} got a shape of {tuple(log_mel.shape)}; expected "
            "(items, n_mels, frames): for a network on raw sound use transform=gain or none"
        )


def _masked(log_mel: Tensor, draws: Tensor, widest: int, *, axis: int) -> Tensor:
    """Set stretches along an axis, of `draws` (items, 2, count), to their mean over it."""
    points = log_mel.shape[axis]
    widths = (draws[:, 0] * (min(widest, points) + 1)).floor()
    starts = (draws[:, 1] * (points - widths + 1)).floor()
    places = torch.arange(points, device=draws.device)[:, None]
    starts, ends = starts[:, None], (starts + widths)[:, None]
    mask = ((places >= starts) & (places < ends)).any(dim=2)  # (items, points)
    return torch.where(mask.unsqueeze(3 - axis), log_mel.mean(dim=axis, keepdim=True), log_mel)


def _at(log_mel: Tensor, positions: Tensor, *, axis: int) -> Tensor:
    """Interpolate linearly along an axis at (items, points); beyond the edges they are repeated."""
    positions = positions.clamp(0, log_mel.shape[axis] - 1).unsqueeze(3 - axis)
    below = positions.floor()
    share = (positions - below).to(log_mel.dtype)
    below = below.long()
    above = (below + 1).clamp(max=log_mel.shape[axis] - 1)
    first, second = (log_mel.gather(axis, i.expand_as(log_mel)) for i in (below, above))
    return torch.lerp(first, second, share)
