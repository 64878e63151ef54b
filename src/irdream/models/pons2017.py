"""The single-layer and the multi-layer network of Pons et al. (2017) for instruments.

The first layer has filters for timbre, as narrow as a frame and as tall as most of the spectrum:
of each height, 5 and 80 bands, 128 filters of one frame, 64 of three and 32 of five, with batch
norm and ELU. The single-layer network reads its answer from their maxima; the multi-layer one has
two more convolutions and a dense layer above. With the averages of their batch norms they hold
62,763 and 743,723 values for 11 instruments; the paper says 62k and 743k. They cost 0.45 and
0.47 GFLOP a window, and train at a third of the speed of Han's network on a CPU.

From the authors: filters, batch norm, ELU, "same" padding, pooling to a fixed grid (the whole
spectrum x a quarter of the frames; a quarter of both), dropout 0.5 before dense layers and 0.25
before convolutions, He's initialization, softmax. Their code has heights of 50 and 70 for the
single-layer network, which would make 80k values; 5 and 80 give the count of the paper.

Not theirs: the input. They take 96 bands up to 6 kHz x 128 frames of 21 ms, normalized over the
data set; here it is any log-mel, by default 128 bands up to 11 kHz x 43 frames of 23 ms, and a
batch norm without weights on the input stands for the normalization.

Source: J. Pons, O. Slizovskaia, R. Gong, E. Gomez, X. Serra, EUSIPCO 2017, arXiv:1703.06697,
and the code that its authors published with it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream.networks import check_size, initialize

HEIGHTS = (5, 80)
FILTERS = {1: 128, 3: 64, 5: 32}  # by their width in frames
TIMBRES = len(HEIGHTS) * sum(FILTERS.values())


class _Pons2017(nn.Module):
    """The input and the first layer."""

    def __init__(self, output: str, *, grid: tuple[int, int]) -> None:
        super().__init__()
        self.output = output
        self.input = nn.BatchNorm2d(1, affine=False)
        self.timbres = nn.ModuleList(
            Timbre(height, width, filters, grid)
            for height in HEIGHTS
            for width, filters in FILTERS.items()
        )

    def first(self, log_mel: Tensor) -> Tensor:
        """Return the timbres (batch, TIMBRES, *grid); InputError when a window is too small."""
        check_size(log_mel, n_mels=5, frames=5)
        normalized = self.input(log_mel.unsqueeze(1))
        return torch.cat([timbre(normalized) for timbre in self.timbres], dim=1)


class Pons2017Single(_Pons2017):
    """log-mel (batch, n_mels, frames), at least 5 x 5 -> logits (batch, instruments)."""

    def __init__(self, *, output: str = "softmax", instruments: int = 11) -> None:
        super().__init__(output, grid=(1, 4))
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(TIMBRES * 4, instruments)
        )
        initialize(self, nn.init.kaiming_normal_)  # He et al. 2015

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.classifier(self.first(log_mel))


class Pons2017Multi(_Pons2017):
    """log-mel (batch, n_mels, frames), at least 5 x 5 -> logits (batch, instruments)."""

    def __init__(self, *, output: str = "softmax", instruments: int = 11) -> None:
        super().__init__(output, grid=(4, 4))
        self.features = nn.Sequential(*_convolution(TIMBRES), *_convolution(128), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(128, 256),
            nn.ELU(),
            nn.Dropout(0.5),
            nn.Linear(256, instruments),
        )
        initialize(self, nn.init.kaiming_normal_)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.classifier(self.features(self.first(log_mel)))


class Timbre(nn.Module):
    """Filters of one shape, pooled to a grid: (batch, 1, mels, frames) -> (batch, n, *grid)."""

    def __init__(self, height: int, width: int, filters: int, grid: tuple[int, int]) -> None:
        super().__init__()
        before, after = (height - 1) // 2, height // 2  # "same", which torch warns of if even
        self.padding = (width // 2, width // 2, before, after)
        self.convolution = nn.Conv2d(1, filters, (height, width))
        # ELU keeps the order, so that after the maximum it gives the same for less work
        self.layers = nn.Sequential(nn.BatchNorm2d(filters), nn.AdaptiveMaxPool2d(grid), nn.ELU())

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return how much of each timbre there is in each cell of the grid."""
        return self.layers(self.convolution(F.pad(log_mel, self.padding)))


def _convolution(channels: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, 128, 3, padding=1)
    return [nn.Dropout(0.25), convolution, nn.BatchNorm2d(128), nn.MaxPool2d(2), nn.ELU()]
