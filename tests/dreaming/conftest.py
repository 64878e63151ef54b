"""A small recognizer with random weights, and waveforms to dream on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer


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
