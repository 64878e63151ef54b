"""Originals of every kind of signal, heard by a small front end in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from irdream.audio.stft import stft
from irdream.dreaming.constraints import Constraint
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

KINDS = {
    "log_mel": "spectrogram",
    "gain": "spectrogram",
    "band_gain": "spectrogram",
    "sound": "sound",
}


class Deaf(nn.Module):
    """Hears no difference; constraints ask the front end alone."""

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel.new_zeros(len(log_mel), 11)


class Ear:
    """A recognizer of 8000 Hz: 12 mel bands, 65 bins, 200 frames a second."""

    def __init__(self) -> None:
        frontend = HanLogMel(sample_rate_hz=8000, n_fft=128, hop_samples=40, n_mels=12)
        self.recognizer = Recognizer(frontend=frontend, model=Deaf()).double()
        self.frontend = frontend

    def sounds(self, items: int, samples: int, seed: int) -> Tensor:
        """Return chords in noise, each of another level; every fourth is digital silence."""
        generator = torch.Generator().manual_seed(seed)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        time = torch.arange(samples, dtype=torch.float64) / 8000
        hz = 200 + 1500 * torch.rand(items, 3, 1, generator=generator, dtype=torch.float64)
        tones = (torch.sin(6.283 * hz * time) * random(items, 3, 1)).sum(dim=1)
        sound = (tones + 0.05 * random(items, samples)) / 8
        return torch.where(torch.arange(items)[:, None] % 4 == 3, 0.0, sound)

    def origin(self, kind: str, waveform: Tensor) -> dict[str, Tensor]:
        """Return what a parametrization that dreams this kind of signal starts from."""
        log_mel = self.recognizer.log_mel(waveform)
        if kind == "gain":
            spectrum = stft(waveform, self.frontend)
            signal = {"signal": torch.zeros_like(spectrum.real), "spectrum": spectrum}
        elif kind == "band_gain":
            signal = {"signal": torch.zeros_like(log_mel)}
        else:
            signal = {"signal": waveform if kind == "sound" else log_mel}
        return {"waveform": waveform, "log_mel": log_mel, **signal}

    def prepared(self, constraint: Constraint, kind: str, waveform: Tensor) -> dict[str, Tensor]:
        """Return the origin with what the constraint adds, all with an axis of items."""
        origin = self.origin(kind, waveform)
        origin |= constraint.prepare(self.recognizer, origin, KINDS[kind])  # type: ignore[arg-type]
        assert all(len(value) == len(waveform) for value in origin.values())
        return origin

    @staticmethod
    def changed(origin: dict[str, Tensor], seed: int, size: float = 1.0) -> Tensor:
        """Return the undreamed signal and noise: of `size` on a plane, of a tenth in a sound."""
        start = origin["signal"]
        noise = torch.randn(
            start.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        return start + noise * (size if start.ndim == 3 else 0.1 * size)


@pytest.fixture(scope="session")
def ear() -> Ear:
    return Ear()


@pytest.fixture(scope="session")
def kinds() -> dict[str, str]:
    return KINDS


@pytest.fixture(scope="session")
def project(ear: Ear) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
    """Prepare a constraint on one sound, change it, and return what obeys, and the origin."""

    def project(
        constraint: Constraint, kind: str, *, samples: int = 4000, size: float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        origin = ear.prepared(constraint, kind, ear.sounds(2, samples, seed=1))
        return constraint(ear.changed(origin, 2, size), origin), origin

    return project
