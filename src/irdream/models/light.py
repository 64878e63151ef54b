"""Han's network made light: the same blocks and pooling, with an eighth of the work.

Four blocks of two 3 x 3 convolutions, each with batch norm and LeakyReLU of slope 0.33, with
`width`, 2, 4 and 8 times as many filters; blocks 1 to 3 end in 3 x 3 max-pooling and dropout 0.25,
block 4 in global max-pooling; then 256 units, LeakyReLU, dropout 0.5, and one output an
instrument. What differs from Han et al. (2016): half the filters at the default width, a padding
that keeps the size (theirs adds two rows and columns at each convolution), batch norm, a quarter
of the units, and torch's own initial weights instead of Glorot's.

It trains about five times as fast as `han2016_bn` on a processor, and needs fewer windows to get
as far: see docs/fonts.md.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from irdream.errors import InputError
from irdream.models.checks import check_size

BLOCKS, SLOPE, UNITS = 4, 0.33, 256


class Light(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments).

    Args:
        width: filters of the first block; at 16 there are 329,565 parameters, at 32 1,241,261.
        output: "softmax", or "sigmoid" for each instrument by itself.
        instruments: the number of outputs.

    Raises:
        InputError: when `width` is below one.
    """

    any_length: ClassVar[bool] = True

    def __init__(self, *, width: int = 16, output: str = "softmax", instruments: int = 11) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"model.width={width}; expected at least 1")
        self.output = output
        layers: list[nn.Module] = [nn.BatchNorm2d(1)]
        channels = 1
        for block in range(BLOCKS):
            filters = width * 2**block
            layers += _convolution(channels, filters) + _convolution(filters, filters)
            if block < BLOCKS - 1:
                layers += [_Pool(), nn.Dropout(0.25)]
            channels = filters
        self.features = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Linear(channels, UNITS),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(0.5),
            nn.Linear(UNITS, instruments),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window."""
        check_size(log_mel, n_mels=1, frames=1)
        return self.classifier(self.features(log_mel.unsqueeze(1)))


class _Pool(nn.Module):
    """The largest of each 3 x 3 values; of fewer where a short window has no more."""

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[-2:]
        return F.max_pool2d(maps, (min(3, height), min(3, width)))


def _convolution(channels: int, filters: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(filters), nn.LeakyReLU(SLOPE)]
