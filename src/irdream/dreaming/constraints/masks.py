"""Where a dream may change the original: in time, in frequency, in what is loud, in tones.

Outside, the change is exactly zero (of a sound in a band: zero in the spectrum of the whole
excerpt, but for rounding). The edges are hard, so a sound may click where its time range ends.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from irdream.arguments import Amount, checked
from irdream.audio.masking import bins_hz
from irdream.audio.stft import NATURAL_PER_DB
from irdream.dreaming.batch import Kind, Start
from irdream.dreaming.constraints.base import Constraint
from irdream.errors import InputError
from irdream.recognizer import Recognizer


class Mask(Constraint):
    """Keeps the original wherever a mask, made once a run, is False."""

    acts_on = ("spectrogram",)

    @abstractmethod
    def mask(self, start: Start, kind: Kind) -> Tensor:
        """Return where changes are allowed, bool, of a shape that broadcasts to the signal's."""

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        mask = self.mask(start, kind).to(start.signal.device)
        return {"mask": mask.expand(len(start.signal), *mask.shape[1:])}

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        return torch.where(prepared["mask"], signal, original)


@dataclass(kw_only=True)
class TimeRange(Mask):
    """Changes are allowed from one time to another, of frames whose center lies between.

    Raises:
        InputError: when the range is none; from `prepare`, when no frame or sample is in it.
    """

    start_seconds: float = 0.0  # from the start of the excerpt
    end_seconds: float | None = None  # the same; None: to its end
    acts_on = ("spectrogram", "sound")

    def __post_init__(self) -> None:
        self.end = torch.inf if self.end_seconds is None else self.end_seconds
        if not 0 <= self.start_seconds < self.end:
            raise InputError(
                f"constraint.start_seconds={self.start_seconds}, end_seconds={self.end_seconds}; "
                "expected 0 <= start < end, such as 0.5 and 1.5"
            )

    def mask(self, start: Start, kind: Kind) -> Tensor:
        """Return (1, 1, frames) or (1, samples)."""
        signal = start.signal if kind == "spectrogram" else start.waveform_for(self)
        hop_samples = start.recognizer.hop_samples if kind == "spectrogram" else 1
        count = torch.arange(signal.shape[-1], dtype=torch.float64)
        seconds = count * hop_samples / start.recognizer.sample_rate_hz
        inside = (seconds >= self.start_seconds) & (seconds < self.end)
        if not bool(inside.any()):
            raise InputError(
                f"constraint.start_seconds={self.start_seconds:g}, end_seconds={self.end:g} holds "
                f"nothing of an excerpt of {float(seconds[-1]):.3f} s; choose another range"
            )
        return inside.view(1, *[1] * (signal.ndim - 2), -1)


@dataclass(kw_only=True)
class FrequencyBand(Mask):
    """Changes are allowed in a band of frequencies.

    A mel band is where its center of gravity is. A sound's change is cut in the Fourier
    transform of the whole excerpt: the filter is a brick wall, and rings.

    Raises:
        InputError: when the band is none; from `prepare`, when no row or bin is in it, or the
            front end has no mel bands.
    """

    low_hz: float = 0.0
    high_hz: float | None = None  # None: half the sample rate
    acts_on = ("spectrogram", "sound")

    def __post_init__(self) -> None:
        self.most_hz = torch.inf if self.high_hz is None else self.high_hz
        if not 0 <= self.low_hz < self.most_hz:
            raise InputError(
                f"constraint.low_hz={self.low_hz}, high_hz={self.high_hz}; expected "
                "0 <= low < high, such as 200 and 2000"
            )

    def mask(self, start: Start, kind: Kind) -> Tensor:
        """Return (1, rows, 1) or (1, bins of the whole excerpt)."""
        rate_hz = start.recognizer.sample_rate_hz
        if kind == "spectrogram":
            hz = row_frequencies_hz(start)
        else:
            samples = start.waveform_for(self).shape[-1]
            bins = torch.arange(samples // 2 + 1, dtype=torch.float64)
            hz = bins * rate_hz / samples
        inside = (hz >= self.low_hz) & (hz <= self.most_hz)
        if not bool(inside.any()):
            raise InputError(
                f"constraint.low_hz={self.low_hz:g}, high_hz={self.most_hz:g} holds none of the "
                f"{len(hz)} bands or bins; choose a wider band below "
                f"{rate_hz / 2:g} Hz"
            )
        return inside[None, :, None] if kind == "spectrogram" else inside[None]

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        if signal.ndim == 3:
            return super().__call__(signal, original, prepared)
        change = torch.fft.rfft(signal - original) * prepared["mask"]
        return original + torch.fft.irfft(change, n=signal.shape[-1])


@checked
@dataclass(kw_only=True)
class OnlyLoud(Mask):
    """Changes are allowed in bins at most `below_peak_db` below the original's loudest bin."""

    below_peak_db: Amount

    def mask(self, start: Start, kind: Kind) -> Tensor:
        """Return (items, rows, frames)."""
        peak = start.level.amax(dim=(1, 2), keepdim=True)
        return start.level >= peak - self.below_peak_db * NATURAL_PER_DB


@dataclass(kw_only=True)
class Harmonic(Mask):
    """Changes are allowed in tones: where the median over frames is above that over bands.

    A tone is a ridge along time, a stroke one along frequency. The median over some frames keeps
    the one and loses the other, the median over some bands the reverse. Medians do not depend on
    the scale, so they are taken of the logarithm.

    Raises:
        InputError: when a number is even or below 1.

    Source: D. Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx-10, 2010,
    with the margin of J. Driedger, M. Müller and S. Disch, "Extending harmonic-percussive
    separation of audio signals", ISMIR 2014. Hard masks, where Fitzgerald prefers soft ones.
    """

    sign = 1.0
    frames: int = 17  # whose median is the harmonic component: 0.4 s of the default front end
    bands: int = 17  # mel bands, or bins, whose median is the percussive component
    margin_db: float = 0.0  # how much louder it has to be; what lies between belongs to neither

    def __post_init__(self) -> None:
        for name, value in {"frames": self.frames, "bands": self.bands}.items():
            if value < 1 or value % 2 == 0:
                raise InputError(f"constraint.{name}={value}; expected an odd number, such as 17")

    def mask(self, start: Start, kind: Kind) -> Tensor:
        """Return (items, rows, frames)."""
        from scipy.ndimage import median_filter  # 0.4 s that other dreams need not wait for

        level = start.level.cpu().numpy()
        harmonic = median_filter(level, size=(1, 1, self.frames), mode="reflect")
        percussive = median_filter(level, size=(1, self.bands, 1), mode="reflect")
        louder = self.sign * (harmonic - percussive)
        return torch.from_numpy(louder > self.margin_db * NATURAL_PER_DB)


class Percussive(Harmonic):
    """Changes are allowed in strokes; otherwise as `Harmonic`."""

    sign = -1.0


def row_frequencies_hz(start: Start) -> Tensor:
    """Return the frequency of each row, (rows,): a bin's, or a mel band's center of gravity."""
    recognizer = start.recognizer
    if start.spectrum is not None:
        return bins_hz(start.spectrum.shape[1], recognizer.sample_rate_hz, start.signal)
    centers_hz = recognizer.centers_hz(recognizer.frontend)
    return mel_basis(recognizer) if centers_hz is None else centers_hz  # says what it lacks


def mel_basis(recognizer: Recognizer) -> Tensor:
    """Return the front end's weights, (n_mels, bins); refuse one that has none."""
    basis = getattr(recognizer.frontend, "mel_basis", None)
    if basis is None:
        raise InputError(
            f"{type(recognizer.frontend).__name__} has no mel_basis, which this constraint needs; "
            "expected a front end such as LogMel()"
        )
    return cast(Tensor, basis)
