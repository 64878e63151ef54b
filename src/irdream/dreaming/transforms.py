"""Random views of a log-mel before it is heard, drawn for each item on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def jitter_shifts(seeds: Sequence[int], *, steps: int, jitter_frames: int) -> Tensor:
    """Draw the circular shifts of each item, (steps, items), from -jitter to jitter frames.

    Each item has a stream of its own, so its shifts do not depend on the batch around it.
    """
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    draws = [
        torch.randint(-jitter_frames, jitter_frames + 1, (steps,), generator=stream)
        for stream in streams
    ]
    return torch.stack(draws, dim=1)


def roll_frames(log_mel: Tensor, shifts: Tensor) -> Tensor:
    """Shift (items, n_mels, frames) circularly in time, each item by its own (items,) frames."""
    frames = log_mel.shape[-1]
    index = (torch.arange(frames, device=log_mel.device) - shifts[:, None]) % frames
    return log_mel.gather(2, index[:, None].expand_as(log_mel))
