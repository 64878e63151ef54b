"""Masks over time and over mel bands (SpecAugment; Park et al. 2019).

What is masked gets the mean of its window. Silence was rejected: it is a level that no band of
music has, so a network would learn to see the mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.training.draws import Draw


class Masks:
    """log-mels (batch, n_mels, frames) -> the same, with stripes of their mean.

    Args:
        time_masks, band_masks: how many in each window; 0: none.
        time_mask_share, band_mask_share: how wide at most, of all frames or bands.

    Raises:
        InputError: a count below 0, a share that is not from 0 to 1.
    """

    def __init__(
        self,
        *,
        time_masks: int = 0,
        time_mask_share: float = 0.2,
        band_masks: int = 0,
        band_mask_share: float = 0.15,
    ) -> None:
        for name, count in (("time_masks", time_masks), ("band_masks", band_masks)):
            if count < 0:
                raise InputError(f"augmentation.{name}={count}; expected 0 or more")
        shares = (("time_mask_share", time_mask_share), ("band_mask_share", band_mask_share))
        for name, share in shares:
            if not 0.0 <= share <= 1.0:
                raise InputError(f"augmentation.{name}={share}; expected 0 to 1")
        self.along = ((1, band_masks, band_mask_share), (2, time_masks, time_mask_share))

    def __call__(self, log_mel: Tensor, draw: Draw) -> Tensor:
        """Return masked windows; draws nothing where there is nothing to mask."""
        masked = torch.zeros((), dtype=torch.bool, device=log_mel.device)
        for axis, count, share in self.along:
            for _ in range(count):
                masked = masked | _stripe(draw, log_mel.shape[axis], share).unsqueeze(3 - axis)
        if not masked.ndim:
            return log_mel
        return torch.where(masked, log_mel.mean(dim=(1, 2), keepdim=True), log_mel)


def _stripe(draw: Draw, length: int, share: float) -> Tensor:
    """Return (batch, length), true from a random place on, for at most `share` of the length."""
    widest = int(share * length)
    width = torch.floor(draw.uniform((0.0, 1.0)) * (widest + 1)).clamp(max=widest)
    first = torch.floor(draw.uniform((0.0, 1.0)) * (length - width + 1))
    place = torch.arange(length, device=width.device)
    return (place >= first[:, None]) & (place < (first + width)[:, None])
