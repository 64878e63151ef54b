"""Recognizers that are small enough to be computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer


class Linear(nn.Module):
    """log-mel (batch, 9, 10) -> logits (batch, 3): its weights are its relevance."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(90, 3)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.dense(log_mel.flatten(1))


class Quadratic(nn.Module):
    """The mean of each third of the bands, squared."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel.unflatten(1, (3, 3)).mean(dim=(2, 3)).square()


class Deep(nn.Module):
    """Convolutions, batch norm, LeakyReLU, max-pooling and dense layers, as Han's."""

    def __init__(self, *, bias: bool = True, slope: float = 0.3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, bias=bias), nn.BatchNorm2d(6) if bias else nn.Identity(),
            nn.LeakyReLU(slope), nn.MaxPool2d(2), nn.Conv2d(6, 8, (2, 3), bias=bias),
            nn.LeakyReLU(slope), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(8, 12, bias=bias), nn.ReLU(), nn.Linear(12, 3, bias=bias)
        )
        if bias:
            norm = self.features[1]
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.3, 1.0)  # type: ignore[arg-type]

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.classifier(self.features(log_mel[:, None]))


@pytest.fixture(scope="session")
def around() -> Callable[[nn.Module], Recognizer]:
    """Put a network into a recognizer of 9 bands and windows of 10 frames, in float64."""

    def make(model: nn.Module) -> Recognizer:
        frontend = HanLogMel(sample_rate_hz=2000, n_fft=64, hop_samples=40, n_mels=9)
        labels = ("a", "b", "c")
        made = Recognizer(frontend=frontend, model=model, instruments=labels, window_seconds=0.2)
        return made.double().eval()

    return make


@pytest.fixture
def log_mel() -> Tensor:
    """Three excerpts of four windows, (3, 9, 25)."""
    return torch.randn(3, 9, 25, generator=torch.Generator().manual_seed(1)).double() - 3


@pytest.fixture
def targets() -> Tensor:
    return torch.tensor([2, 0, 1])
