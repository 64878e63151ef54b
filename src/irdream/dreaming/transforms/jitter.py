"""A circular shift in time, as in DeepDream, along the one axis on which a sound may move."""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.dreaming.random_streams import uniform
from irdream.dreaming.transforms.base import Chain, Transform
from irdream.errors import InputError


class Jitter(Transform):
    """Shift each item circularly in time by a whole number of frames.

    Args:
        frames: the largest shift; all from -frames to frames are equally likely.

    Raises:
        InputError: when `frames` is negative.
    """

    def __init__(self, *, frames: int) -> None:
        if frames < 0:
            raise InputError(f"transform.frames={frames}; expected at least 0")
        self.frames = frames

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the shifted log-mels."""
        draws = uniform(keys, step, 1)[:, 0] * (2 * self.frames + 1)
        return roll_frames(log_mel, draws.long() - self.frames)


def with_jitter(transform: Transform | None, frames: int) -> Transform | None:
    """Return a view after a jitter; as it is where `frames` is 0."""
    if not frames:
        return transform
    return Chain([Jitter(frames=frames), *([transform] if transform else [])])


def roll_frames(log_mel: Tensor, shifts: Tensor) -> Tensor:
    """Shift (items, ..., frames) circularly in time, each item by its own (items,) frames."""
    frames = log_mel.shape[-1]
    index = (torch.arange(frames, device=log_mel.device) - shifts[:, None]) % frames
    index = index.view(len(log_mel), *(1,) * (log_mel.ndim - 2), frames)
    return log_mel.gather(-1, index.expand_as(log_mel))
