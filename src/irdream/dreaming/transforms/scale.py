"""Stretching in time and in frequency: faster or slower, wider or narrower."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from irdream.dreaming.random_streams import uniform
from irdream.dreaming.transforms.axes import need_spectrogram
from irdream.dreaming.transforms.base import Transform
from irdream.dreaming.transforms.resampling import resampled
from irdream.errors import InputError


class Scale(Transform):
    """Scale each item about its center, each axis by a factor of its own; the shape is kept.

    Above 1 it is stretched and its edges are lost; below 1 it is shrunk and its edges repeated.

    Args:
        mels: least and largest factor along the mel bands; all between are equally likely.
        frames: the same in time.

    Raises:
        InputError: when they are no two numbers above 0 in order; for an input that is no log-mel.
    """

    def __init__(
        self, *, mels: Sequence[float] = (1.0, 1.0), frames: Sequence[float] = (1.0, 1.0)
    ) -> None:
        self.mels, self.frames = _range("mels", mels), _range("frames", frames)

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the scaled log-mels."""
        need_spectrogram(self, log_mel)
        draws = uniform(keys, step, 2)
        for axis, (least, most) in ((1, self.mels), (2, self.frames)):
            if (least, most) == (1.0, 1.0):
                continue
            factors = least + draws[:, axis - 1, None] * (most - least)
            center = (log_mel.shape[axis] - 1) / 2
            points = torch.arange(log_mel.shape[axis], device=log_mel.device) - center
            log_mel = resampled(log_mel, center + points / factors, axis=axis)
        return log_mel


def _range(name: str, factors: Sequence[float]) -> tuple[float, float]:
    if not (len(factors) == 2 and 0 < factors[0] <= factors[1] < math.inf):
        raise InputError(
            f"transform.{name}={list(factors)}; expected [least, most] above 0, such as "
            "[0.95, 1.05]"
        )
    return float(factors[0]), float(factors[1])
