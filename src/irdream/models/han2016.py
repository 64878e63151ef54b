"""The network of Han, Kim and Lee (2016), and its batch-norm variant.

Four blocks of two 3 x 3 convolutions with padding 2 and LeakyReLU of slope 0.33, with 32, 64,
128 and 256 filters; blocks 1 to 3 end in 3 x 3 max-pooling and dropout 0.25, block 4 in
global max-pooling; then 1024 units, LeakyReLU, dropout 0.5, and one output an instrument.
1,446,123 parameters for 11 instruments; about 0.4 GFLOP a window.

Source: Y. Han, J. Kim, K. Lee, IEEE/ACM TASLP 25(1), 2017, table I and section III-B.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

FILTERS = (32, 64, 128, 256)
SLOPE = 0.33


class Han2016(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), as published.

    Its outputs are sigmoids, trained with the categorical cross-entropy of the sigmoids
    rescaled to sum to one, which is what Keras makes of that loss.
    """

    output: str = "sigmoid"
    any_length: ClassVar[bool] = True
    batch_norm: ClassVar[bool] = False

    def __init__(self, *, instruments: int = 11) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm2d(1)] if self.batch_norm else []
        channels = 1
        for filters in FILTERS:
            layers += self._convolution(channels, filters) + self._convolution(filters, filters)
            if filters != FILTERS[-1]:
                layers += [nn.MaxPool2d(3), nn.Dropout(0.25)]
            channels = filters
        self.features = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Linear(FILTERS[-1], 1024),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(0.5),
            nn.Linear(1024, instruments),
        )
        self.apply(_glorot)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window."""
        return self.classifier(self.features(log_mel.unsqueeze(1)))

    def _convolution(self, channels: int, filters: int) -> list[nn.Module]:
        normalize = [nn.BatchNorm2d(filters)] if self.batch_norm else []
        convolution = nn.Conv2d(channels, filters, 3, padding=2, bias=not self.batch_norm)
        return [convolution, *normalize, nn.LeakyReLU(SLOPE)]


class Han2016BatchNorm(Han2016):
    """Han2016 with batch norm on its input and after every convolution, and a softmax.

    Not in the paper: it trains in fewer epochs.

    Args:
        output: "softmax", or "sigmoid" for each instrument by itself.
        instruments: the number of outputs.
    """

    batch_norm: ClassVar[bool] = True

    def __init__(self, *, output: str = "softmax", instruments: int = 11) -> None:
        super().__init__(instruments=instruments)
        self.output = output


@torch.no_grad()
def _glorot(layer: nn.Module) -> None:
    """Initialize as Glorot and Bengio (2010, equation 16), as the paper did."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
