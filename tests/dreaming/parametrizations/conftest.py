"""Small recognizers in float64, sounds to dream on, and every parametrization."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations import (
    Fourier,
    LogMel,
    LowResolution,
    Maco,
    Parametrization,
    StftGain,
    StftMask,
    Waveform,
)
from irdream.dreaming.random_streams import item_keys
from irdream.frontends import HanLogMel
from irdream.recognizer import Recognizer


class Noises:
    """A reference of three noises, longer and shorter than what is dreamed."""

    def excerpts(
        self, *, sample_rate_hz: int, min_seconds: float
    ) -> tuple[list[SimpleNamespace], list[str]]:
        least = round(sample_rate_hz * min_seconds)
        sounds = [0.1 * noise(least + more, seed=more) for more in (0, 333, 5000)]
        return [SimpleNamespace(waveform=sound.float()) for sound in sounds], []


MADE: dict[str, Callable[[], Parametrization]] = {
    "log_mel": LogMel,
    "waveform": Waveform,
    "stft_gain": StftGain,
    "stft_mask": lambda: StftMask(bins=3, frames=5),
    "fourier": lambda: Fourier(of=LogMel()),
    "fourier_waveform": lambda: Fourier(of=Waveform(), decay=(1.0, 0.5)),
    "fourier_stft_gain": lambda: Fourier(of=StftGain(), decay=(0.5, 0.0)),
    "harmonic_and_gain": lambda: Fourier(of=StftGain(floor_db=20.0)),
    "low_resolution": lambda: LowResolution(of=LogMel()),
    "low_resolution_shared": lambda: LowResolution(of=LogMel(), levels=3, ratio=1.5, shared=True),
    "low_resolution_waveform": lambda: LowResolution(of=Waveform(), levels=2),
    "low_resolution_stft_gain": lambda: LowResolution(of=StftGain()),
    "maco": lambda: Maco(of=LogMel(), reference=Noises()),
    "maco_own": lambda: Maco(of=LogMel()),
    "maco_waveform": lambda: Maco(of=Waveform(), reference=Noises()),
    "maco_waveform_own": lambda: Maco(of=Waveform()),
}


class Bench:
    """Makes recognizers and origins.

    Attributes:
        made: every parametrization by name.
    """

    made = MADE

    def __init__(self) -> None:
        frontend = HanLogMel(sample_rate_hz=2000, n_fft=64, hop_samples=40, n_mels=9)
        self.recognizer = Recognizer(frontend=frontend, model=nn.Identity(), window_seconds=0.2)
        self.recognizer = self.recognizer.double().eval()

    def origin(self, parametrization: Parametrization, waveform: Tensor, seeds: list[int]) -> Start:
        """Return what items start from."""
        return self.start(parametrization, self.recognizer.log_mel(waveform), waveform, seeds)

    def start(
        self,
        parametrization: Parametrization,
        log_mel: Tensor,
        sound: Tensor | None = None,
        seeds: list[int] | None = None,
    ) -> Start:
        """Return what items of any log-mel start from."""
        return parametrization.start(self.originals(log_mel, sound, seeds))

    def originals(
        self,
        log_mel: Tensor,
        sound: Tensor | None = None,
        seeds: list[int] | None = None,
        recognizer: Recognizer | None = None,
    ) -> Originals:
        """Return originals of any log-mel, with or without sound."""
        keys, recognizer = item_keys(seeds or [*range(len(log_mel))]), recognizer or self.recognizer
        return Originals(recognizer=recognizer, log_mel=log_mel, sound=sound, keys=keys)

    def sounds(self, items: int, samples: int) -> Tensor:
        """Return different sounds (items, samples)."""
        return torch.stack([0.1 * (i + 1) * noise(samples, seed=i) for i in range(items)])

    def forward(
        self, parametrization: Parametrization, origin: Start, parameters: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return signal, sound and log-mel of parameters."""
        signal = parametrization.signal(origin, parameters)
        sound = parametrization.waveform(origin, signal)
        return signal, sound, signal if sound is None else self.recognizer.log_mel(sound)

    def changed(self, parametrization: Parametrization, origin: Start, size: float = 3.0) -> Tensor:
        """Return the undreamed parameters and a random change, each item's from its key."""
        start = parametrization.parameters(origin)
        change = torch.stack([noise(*start.shape[1:], seed=int(k)) for k in origin.keys])
        unit = parametrization.unit(origin)
        return start + size * (change.to(start.dtype) * unit).to(start.dtype)


def noise(*shape: int, seed: int) -> Tensor:
    """Return Gaussian noise, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()


def each(names: Iterable[str]) -> Any:
    """Return a fixture that is each of some parametrizations in turn."""

    @pytest.fixture(params=list(names))
    def made(request: pytest.FixtureRequest) -> Parametrization:
        return MADE[request.param]()

    return made


parametrization = each(MADE)
additive = each(name for name in MADE if not name.startswith(("maco", "stft_mask")))
on_log_mels = each(["log_mel", "fourier", "low_resolution", "low_resolution_shared", "maco_own"])
on_sound = each(["waveform", "fourier_waveform", "low_resolution_waveform", "maco_waveform_own"])
