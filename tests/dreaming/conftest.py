"""Small recognizers with random weights, and sounds to dream on."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from irdream.dreaming.ascent import Ascent
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer
from tests.tiny import tiny_ascent


class SmallNet(nn.Module):
    """log-mel (batch, n_mels, frames) -> logits (batch, 11), with dropout and batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=3), nn.BatchNorm2d(8), nn.ELU(), nn.Dropout(0.5)
        )
        self.classifier = nn.Linear(8, 11)

    def forward(self, log_mel: Tensor) -> Tensor:
        return 4.0 * self.classifier(self.features(log_mel[:, None]).mean(dim=(2, 3)))


class TinyNet(nn.Module):
    """The same from 9 mel bands, with everything that can be simplified; its calls are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.LeakyReLU(0.3), nn.MaxPool2d(2),
            nn.Dropout(0.5), nn.Conv2d(6, 8, (2, 3)), nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Linear(8, 11)
        norm = self.features[1]
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
        nn.init.uniform_(norm.running_var, 0.3, 1.0)  # type: ignore[arg-type]

    def forward(self, log_mel: Tensor) -> Tensor:
        return 6.0 * self.classifier(self.features(log_mel[:, None] / 3 + 1).mean(dim=(2, 3)))


@pytest.fixture
def recognizer() -> Recognizer:
    torch.manual_seed(3)
    frontend = HanLogMel(sample_rate_hz=8000, n_fft=256, hop_samples=200, n_mels=24)
    return Recognizer(frontend=frontend, model=SmallNet())


@pytest.fixture
def waveform() -> Tensor:
    """Five different excerpts of 2.2 s, (5, 17600)."""
    noise = torch.randn(5, 17_600, generator=torch.Generator().manual_seed(5))
    tone = torch.sin(torch.arange(17_600) * torch.linspace(0.1, 1.2, 5)[:, None])
    return (tone + 0.1 * noise) / 1.6


@pytest.fixture(scope="session")
def tiny() -> Callable[[], Recognizer]:
    """Make a recognizer of windows of 10 frames, 50 frames a second, in float64."""

    def make() -> Recognizer:
        torch.manual_seed(4)
        frontend = HanLogMel(sample_rate_hz=2000, n_fft=64, hop_samples=40, n_mels=9)
        return Recognizer(frontend=frontend, model=TinyNet(), window_seconds=0.2).double()

    return make


@pytest.fixture(scope="session")
def sounds() -> Callable[[int, int], Tensor]:
    """Make different sounds (items, samples) in float64, tones in noise."""

    def make(items: int, samples: int) -> Tensor:
        time = torch.arange(samples, dtype=torch.float64)
        made = []
        for i in range(items):
            generator = torch.Generator().manual_seed(i)
            noise = torch.randn(samples, generator=generator, dtype=torch.float64)
            made.append(0.3 * torch.sin((0.2 + 0.3 * i) * time) + 0.1 * noise)
        return torch.stack(made)

    return make


@pytest.fixture(scope="session")
def ascent() -> Callable[..., Ascent]:
    """Make an ascent of log p on log-mels, 6 steps of 1 dB to no confidence, but for `changes`."""

    return partial(tiny_ascent, steps=6, confidence=None)
