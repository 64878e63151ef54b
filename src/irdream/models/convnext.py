"""A small ConvNeXt for log-mels: 1,030,765 parameters, 0.21 GFLOP a window (Han's: 0.40).

Blocks of a 7 x 7 depthwise convolution, a layer norm over the channels, and two dense layers
with GELU and a global response normalization between them, added to their input. The stem and
the two steps to a coarser grid are padded so that every band and frame counts: 128 x 43
becomes 32 x 22, 16 x 11 and 8 x 6. The mean over these and a dense layer give the logits.
Adapted to log-mels: an overlapping stem that keeps twice as many steps in time as in frequency, a
batch norm on the input, 3 x 3 steps where the paper has 2 x 2, three levels where it has four.

Sources: Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022 (blocks, initialization, stochastic
depth); S. Woo et al., "ConvNeXt V2", CVPR 2023 (global response normalization).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from irdream.arguments import checked
from irdream.errors import InputError
from irdream.networks import check_size, initialize


@checked
class ConvNeXt(nn.Module):
    """log-mel (batch, n_mels, frames), at least 16 x 8 -> logits (batch, instruments).

    Raises InputError when `channels` and `blocks` differ in length.
    """

    any_length: ClassVar[bool] = True

    def __init__(
        self,
        *,
        channels: Sequence[int] = (48, 96, 192),  # of each level
        blocks: Sequence[int] = (2, 2, 2),  # of each level
        drop_path: Annotated[float, Ge(0), Lt(1)] = 0.1,  # how often the last block is skipped
        output: str = "softmax",
        instruments: int = 11,
    ) -> None:
        super().__init__()
        self.output = output
        if len(channels) != len(blocks):
            raise InputError(
                f"blocks={list(blocks)}; expected as many numbers as channels={list(channels)}"
            )
        self.input = nn.BatchNorm2d(1)
        self.levels = nn.ModuleList()
        before, done = 1, 0
        for level, (width, depth) in enumerate(zip(channels, blocks, strict=True)):
            rates = [drop_path * (done + i) / max(1, sum(blocks) - 1) for i in range(depth)]
            grid = [Norm(before), nn.Conv2d(before, width, 3, stride=2, padding=1)]
            stem = [nn.Conv2d(1, width, 7, stride=(4, 2), padding=3), Norm(width)]
            self.levels.append(
                nn.Sequential(
                    nn.Sequential(*(grid if level else stem)),
                    *(Block(width, rate) for rate in rates),
                )
            )
            before, done = width, done + depth
        self.classifier = nn.Sequential(nn.LayerNorm(before), nn.Linear(before, instruments))
        initialize(self, partial(nn.init.trunc_normal_, std=0.02))  # as Liu et al. did

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window; InputError when it is too small."""
        check_size(log_mel, n_mels=16, frames=8)
        maps = self.input(log_mel.unsqueeze(1))
        for level in self.levels:
            maps = level(maps)
        return self.classifier(maps.mean((2, 3)))


class Norm(nn.LayerNorm):
    """Layer norm over the channels of maps (batch, channels, mels, frames)."""

    def forward(self, maps: Tensor) -> Tensor:  # type: ignore[override]
        """Return maps of the same shape; no copy is made where channels lie last in memory."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Maps (batch, channels, mels, frames) and what a residual block adds to them."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            Norm(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            GlobalResponse(4 * channels),
            nn.Conv2d(4 * channels, channels, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        more = self.layers(maps)
        if self.training and self.drop_path > 0:
            kept = more.new_empty(len(more), 1, 1, 1).bernoulli_(1 - self.drop_path)
            more = more * kept / (1 - self.drop_path)
        return maps + more


class GlobalResponse(nn.Module):
    """Scales each channel by its norm over an item's map, relative to the other channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(maps, dim=(2, 3), keepdim=True)
        relative = norm / (norm.mean(1, keepdim=True) + 1e-6)
        return maps + self.scale * (maps * relative) + self.shift
