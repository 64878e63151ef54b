"""The network of Han, Kim and Lee (2016), and three that are made of its blocks.

Four blocks of two 3 x 3 convolutions with padding 2 and LeakyReLU of slope 0.33, with 32, 64,
128 and 256 filters; blocks 1 to 3 end in 3 x 3 max-pooling and dropout 0.25, block 4 in
global max-pooling; then 1024 units, LeakyReLU, dropout 0.5, and one output an instrument.
1,446,123 parameters for 11 instruments; about 0.4 GFLOP a window.

Source: Y. Han, J. Kim, K. Lee, IEEE/ACM TASLP 25(1), 2017, table I and section III-B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irdream.arguments import Count, checked
from irdream.networks import check_size, initialize

FILTERS = (32, 64, 128, 256)
UNITS = 1024
SLOPE = 0.33


def _leaky() -> nn.Module:
    return nn.LeakyReLU(SLOPE)


class _Blocks(nn.Module):
    """Convolutional blocks and two dense layers; the whole of time is pooled."""

    any_length: ClassVar[bool] = True

    def __init__(
        self,
        instruments: int,
        *,
        filters: tuple[int, ...] = FILTERS,
        units: int = UNITS,
        padding: int = 2,
        batch_norm: bool = True,
        pool: type[nn.Module] = nn.MaxPool2d,
        activation: Callable[[], nn.Module] = _leaky,
        over_all: Callable[[int], nn.Module] = lambda channels: nn.AdaptiveMaxPool2d(1),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm2d(1)] if batch_norm else []
        channels = 1
        for width in filters:
            for before in (channels, width):
                layers.append(nn.Conv2d(before, width, 3, padding=padding, bias=not batch_norm))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(activation())
            layers += [pool(3), nn.Dropout(0.25)] if width < filters[-1] else []
            channels = width
        self.features = nn.Sequential(*layers, over_all(channels), nn.Flatten())
        self.classifier = nn.Sequential(
            nn.Linear(channels, units),
            activation(),
            nn.Dropout(0.5),
            nn.Linear(units, instruments),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the logits of each window; InputError without a band or a frame."""
        check_size(log_mel, n_mels=1, frames=1)
        return self.classifier(self.features(log_mel.unsqueeze(1)))


class Han2016(_Blocks):
    """log-mel (batch, n_mels, frames) -> logits (batch, instruments), as published.

    Its outputs are sigmoids, trained with the categorical cross-entropy of the sigmoids
    rescaled to sum to one, which is what Keras makes of that loss.
    """

    output: str = "sigmoid"

    def __init__(self, *, instruments: int = 11) -> None:
        super().__init__(instruments, batch_norm=False)
        initialize(self, nn.init.xavier_uniform_)  # Glorot and Bengio 2010, equation 16


class Han2016BatchNorm(_Blocks):
    """Han2016 with batch norm on its input and after every convolution, and a softmax.

    Not in the paper: it trains in fewer epochs.
    """

    def __init__(self, *, output: str = "softmax", instruments: int = 11) -> None:
        super().__init__(instruments)
        self.output = output
        initialize(self, nn.init.xavier_uniform_)


@checked
class Light(_Blocks):
    """Han2016BatchNorm with an eighth of the work.

    It has half the filters at the default width, a padding that keeps the size (Han's adds two
    rows and columns at each convolution), a quarter of the units, and torch's own initial weights.
    It trains about five times as fast as `han2016_bn` on a processor, and needs fewer windows to
    get as far: see docs/fonts.md. At a width of 16 there are 329,565 parameters, at 32 1,241,261.
    The pooling "blur" smooths before it leaves values out (Zhang, "Making convolutional networks
    shift-invariant again", ICML 2019).
    """

    def __init__(
        self,
        *,
        width: Count = 16,  # filters of the first block
        pooling: Literal["max", "blur"] = "max",  # between blocks
        activation: Literal["leaky", "relu", "softplus"] = "leaky",
        over_all: Literal["max", "mean", "attention"] = "max",  # how the last maps become values
        output: str = "softmax",
        instruments: int = 11,
    ) -> None:
        whole = {
            "max": lambda channels: nn.AdaptiveMaxPool2d(1),
            "mean": lambda channels: nn.AdaptiveAvgPool2d(1),
            "attention": _Attention,
        }
        super().__init__(
            instruments,
            filters=tuple(width * 2**block for block in range(len(FILTERS))),
            units=UNITS // 4,
            padding=1,
            pool={"max": _Pool, "blur": _BlurPool}[pooling],
            activation={"leaky": _leaky, "relu": nn.ReLU, "softplus": nn.Softplus}[activation],
            over_all=whole[over_all],
        )
        self.output = output


class Han2016Body(nn.Module):
    """log-mel (batch, n_mels, frames) -> maps (batch, 256, mels, frames): Han's convolutions.

    A frame of the maps is 27 of the log-mel further than the one before: 43 make 7 and
    129 make 10, of which the outer ones see the padding. The weights have the names that they
    have in `Han2016` or, with `batch_norm`, in `Han2016BatchNorm`.
    """

    any_length: ClassVar[bool] = True

    def __init__(self, *, batch_norm: bool = True) -> None:
        super().__init__()
        whole = Han2016BatchNorm() if batch_norm else Han2016()
        self.features = whole.features[:-2]  # without the global pooling

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the maps; InputError without a band or a frame."""
        check_size(log_mel, n_mels=1, frames=1)
        return self.features(log_mel.unsqueeze(1))


class _Pool(nn.MaxPool2d):
    """Max-pooling of fewer values where a short window has no more."""

    def forward(self, input: Tensor) -> Tensor:
        most = int(self.kernel_size)  # type: ignore[arg-type]
        return F.max_pool2d(input, [min(most, size) for size in input.shape[-2:]])


class _BlurPool(nn.Module):
    """Maxima of 3 x 3, smoothed by (1 4 6 4 1) / 16 along both axes; every third is kept."""

    taps: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("taps", taps[:, None] * taps, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        highest = F.max_pool2d(input, 3, stride=1, padding=1)
        kernel = self.taps.to(input).expand(input.shape[1], 1, 5, 5)
        padded = F.pad(highest, (2, 2, 2, 2), mode="replicate")
        return F.conv2d(padded, kernel, stride=self.size, groups=input.shape[1])


class _Attention(nn.Module):
    """The mean of maps (batch, channels, mels, frames), weighed by what is learned of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(channels, 1, 1)

    def forward(self, input: Tensor) -> Tensor:
        shares = self.weigh(input).flatten(2).softmax(dim=2)
        return (input.flatten(2) * shares).sum(dim=2)
