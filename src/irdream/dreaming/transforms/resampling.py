"""Reading a log-mel between its points, for views that move or scale it."""

from __future__ import annotations

import torch
from torch import Tensor


def resampled(log_mel: Tensor, positions: Tensor, *, axis: int) -> Tensor:
    """Interpolate log-mels (items, n_mels, frames) linearly; beyond the edges they go on level.

    Args:
        log_mel: what is read.
        positions: where, in points of the axis, (items, points of the axis).
        axis: 1: mel bands; 2: frames.
    """
    positions = positions.clamp(0, log_mel.shape[axis] - 1).unsqueeze(3 - axis)
    below = positions.floor()
    share = (positions - below).to(log_mel.dtype)
    below = below.long()
    above = (below + 1).clamp(max=log_mel.shape[axis] - 1)
    first, second = (log_mel.gather(axis, i.expand_as(log_mel)) for i in (below, above))
    return torch.lerp(first, second, share)
