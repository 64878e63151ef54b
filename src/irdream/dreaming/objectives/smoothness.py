"""How rough a dream is, and how far it went: quantities that one subtracts.

Each class returns the quantity itself, at least 0, larger where a dream is rougher or further
away; so one writes `log_probability - 0.01 * total_variation`. They read what the network hears
before random shifts: a log-mel (items, n_mels, frames), in dB; or, where a network hears sound,
a waveform (items, samples), in units of full scale and along its one axis. All are means, so
that neither size nor length changes a weight.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from irdream.dreaming.objectives.base import ForwardOutput, Objective
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError


class _OnLogMel(Objective):
    name = ""

    def __repr__(self) -> str:
        return self.name


class TotalVariation(_OnLogMel):
    """The mean absolute step from band to band and from frame to frame, summed, in dB.

    One edge costs as much as a slope to the same height, and noise costs most. Source: Rudin,
    Osher and Fatemi 1992, here for each axis on its own.
    """

    name = "total_variation"

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        steps = [output.log_mel.diff(dim=axis) for axis in range(1, output.log_mel.ndim)]
        total = torch.stack([_mean(step.abs()) for step in steps]).sum(dim=0)
        return _unit(output) * total


class L1(_OnLogMel):
    """The mean absolute change from the start, in dB; it leaves most places as they were."""

    name = "l1"

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return _unit(output) * _mean((output.log_mel - output.start).abs())


class L2(_OnLogMel):
    """The mean square of the change from the start, in dB^2.

    The square and not its root: a root has no gradient at the start, where every dream begins.
    """

    name = "l2"

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return _unit(output) ** 2 * _mean((output.log_mel - output.start).square())


class Blur(_OnLogMel):
    """The mean squared difference to the blurred log-mel, along each axis on its own, in dB^2.

    The blur is [1 2 1] / 4 with repeated edges: a slope costs nothing, what alternates costs
    most. Subtracted, it draws a dream toward its blur a little in each step, instead of blurring
    it every few steps (Yosinski and others 2015, "Understanding neural networks through deep
    visualization").

    Args:
        mels: weight of the blur along the mel bands.
        frames: weight of the blur along the frames, or along a waveform's samples.

    Raises:
        InputError: when a weight is negative.
    """

    def __init__(self, *, mels: float = 1.0, frames: float = 1.0) -> None:
        for name, weight in (("mels", mels), ("frames", frames)):
            if not weight >= 0:
                raise InputError(f"objective.{name}={weight}; expected at least 0, such as 1")
        self.mels, self.frames = mels, frames

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        log_mel = output.log_mel
        along_frames = self.frames * _mean(_from_blur(log_mel, -1).square())
        if log_mel.ndim < 3:
            return along_frames
        along_mels = self.mels * _mean(_from_blur(log_mel, -2).square())
        return _unit(output) ** 2 * (along_mels + along_frames)

    def __repr__(self) -> str:
        return f"blur(mels={self.mels!r}, frames={self.frames!r})"


def _from_blur(values: Tensor, axis: int) -> Tensor:
    """Return [1 2 1] / 4 of the values less the values: a quarter of their second difference."""
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
    return values.diff(n=2, dim=axis, prepend=first, append=last) / 4.0


def _mean(values: Tensor) -> Tensor:
    """Return (items,), zero where an axis of length one has no steps."""
    return values.flatten(1).sum(dim=1) / max(1, math.prod(values.shape[1:]))


def _unit(output: ForwardOutput) -> float:
    """Return dB for each unit of a log-mel; a waveform's unit stays."""
    return 1.0 / NATURAL_PER_DB if output.log_mel.ndim == 3 else 1.0
