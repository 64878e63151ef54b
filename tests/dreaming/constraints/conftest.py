"""Originals of every kind of signal, for constraints and a small front end in float64."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.audio.stft import stft
from irdream.dreaming.batch import Originals, Start, rows_of
from irdream.dreaming.constraints import Constraint
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer

KINDS = {"log_mel": "spectrogram", "gain": "spectrogram", "sound": "sound"}


@dataclass
class Held:
    """A constraint that was prepared for some originals."""

    constraint: Constraint
    start: Start
    prepared: dict[str, Any]

    def __call__(self, signal: Tensor) -> Tensor:
        """Return the signal that obeys."""
        return self.constraint(signal, self.start.signal, self.prepared)

    def rows(self, rows: Tensor) -> "Held":
        """Return it for some of the items."""
        start, prepared = rows_of([self.start, self.prepared], rows)
        return Held(self.constraint, start, prepared)  # type: ignore[arg-type]

    def changed(self, seed: int, size: float = 1.0) -> Tensor:
        """Return the undreamed signal and noise: of `size`, or of a tenth of it in a sound."""
        signal = self.start.signal
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(signal.shape, generator=generator, dtype=torch.float64)
        return signal + noise * (size if signal.ndim == 3 else 0.1 * size)


class Bench:
    """A recognizer of 8000 Hz: 12 mel bands, 65 bins, 200 frames a second."""

    kinds = KINDS

    def __init__(self) -> None:
        self.frontend = HanLogMel(sample_rate_hz=8000, n_fft=128, hop_samples=40, n_mels=12)
        self.recognizer = Recognizer(frontend=self.frontend, model=nn.Identity()).double()

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

    def start(self, kind: str, waveform: Tensor) -> Start:
        """Return what a parametrization that dreams this kind of signal starts from."""
        originals = Originals.of(self.recognizer, waveform)
        if kind == "gain":
            spectrum = stft(waveform, self.frontend).abs()
            return originals.start(torch.zeros_like(spectrum), spectrum=spectrum)
        return originals.start(waveform if kind == "sound" else originals.log_mel)

    def held(self, constraint: Constraint, kind: str, waveform: Tensor | None = None) -> Held:
        """Prepare a constraint; on two sounds of half a second unless others are given."""
        waveform = self.sounds(2, 4000, seed=1) if waveform is None else waveform
        start = self.start(kind, waveform)
        prepared = constraint.prepare(start, KINDS[kind])  # type: ignore[arg-type]
        tensors = [value for value in prepared.values() if isinstance(value, Tensor)]
        assert all(len(value) == len(waveform) for value in tensors)
        return Held(constraint, start, prepared)

    def magnitude(self, held: Held) -> Tensor:
        """Return the originals' magnitudes where a spectrogram is."""
        return held.start.level.exp()


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def project(bench: Bench) -> Callable[..., tuple[Tensor, Tensor, Held]]:
    """Hold a change; return what obeys, what was asked, and the constraint."""

    def project(constraint: Constraint, kind: str, *, size: float = 1.0, **more: Any) -> Any:
        held = bench.held(constraint, kind, **more)
        asked = held.changed(2, size)
        return held(asked), asked, held

    return project
