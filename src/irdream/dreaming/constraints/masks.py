"""Where a dream may change the original: in a stretch of time, in a band, in what is loud.

Outside, the change is exactly zero (of a sound in a band: zero in the spectrum of the whole
excerpt, but for rounding). The edges are hard, so a sound may click where its time range ends.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from irdream.dreaming.constraints.base import Constraint, Kind
from irdream.dreaming.constraints.planes import log_magnitude, row_frequencies_hz
from irdream.dreaming.parametrizations.base import Origin
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.recognizer import Recognizer


class Mask(Constraint):
    """Keeps the original wherever a mask, made once a run, is False.

    Args:
        name: with the arguments, so that two masks of a kind are kept apart.
    """

    acts_on: tuple[Kind, ...] = ("spectrogram",)

    def __init__(self, name: str) -> None:
        self._key = f"{type(self).__name__}({name})"

    @abstractmethod
    def mask(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Tensor:
        """Return where changes are allowed, bool, of a shape that broadcasts to the signal's."""

    def prepare(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Origin:
        """Return the mask, with an axis of items."""
        mask = self.mask(recognizer, origin, kind)
        return {self._key: mask.expand(len(origin["signal"]), *mask.shape[1:])}

    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the original outside the mask."""
        start = origin["signal"] if signal.ndim == 3 else origin["waveform"]
        return torch.where(origin[self._key], signal, start)


class TimeRange(Mask):
    """Changes are allowed from one time to another, of frames whose center lies between.

    Args:
        start_seconds: from the start of the excerpt.
        end_seconds: the same; None: to its end.

    Raises:
        InputError: when the range is none; from `prepare`, when no frame or sample is in it.
    """

    acts_on: tuple[Kind, ...] = ("spectrogram", "sound")

    def __init__(self, *, start_seconds: float = 0.0, end_seconds: float | None = None) -> None:
        self.start, self.end = start_seconds, torch.inf if end_seconds is None else end_seconds
        if not 0 <= self.start < self.end:
            raise InputError(
                f"constraint.start_seconds={start_seconds}, end_seconds={end_seconds}; expected "
                "0 <= start < end, such as 0.5 and 1.5"
            )
        super().__init__(f"{self.start},{self.end}")

    def mask(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Tensor:
        """Return (1, 1, frames) or (1, samples)."""
        signal = origin["signal"] if kind == "spectrogram" else origin["waveform"]
        hop_samples = recognizer.hop_samples if kind == "spectrogram" else 1
        count = torch.arange(signal.shape[-1], dtype=torch.float64)
        seconds = count * hop_samples / recognizer.sample_rate_hz
        inside = (seconds >= self.start) & (seconds < self.end)
        if not bool(inside.any()):
            raise InputError(
                f"constraint.start_seconds={self.start:g}, end_seconds={self.end:g} holds nothing "
                f"of an excerpt of {float(seconds[-1]):.3f} s; choose another range"
            )
        return inside.to(signal.device).view(1, *[1] * (signal.ndim - 2), -1)


class FrequencyBand(Mask):
    """Changes are allowed in a band of frequencies.

    A log-mel's band is where its center of gravity is. A sound's change is cut in the Fourier
    transform of the whole excerpt: the filter is a brick wall, and rings.

    Args:
        low_hz: the lowest frequency.
        high_hz: the highest; None: half the sample rate.

    Raises:
        InputError: when the band is none; from `prepare`, when no row or bin is in it.
    """

    acts_on: tuple[Kind, ...] = ("spectrogram", "sound")

    def __init__(self, *, low_hz: float = 0.0, high_hz: float | None = None) -> None:
        self.low_hz, self.high_hz = low_hz, torch.inf if high_hz is None else high_hz
        if not 0 <= self.low_hz < self.high_hz:
            raise InputError(
                f"constraint.low_hz={low_hz}, high_hz={high_hz}; expected 0 <= low < high, such "
                "as 200 and 2000"
            )
        super().__init__(f"{self.low_hz},{self.high_hz}")

    def mask(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Tensor:
        """Return (1, rows, 1) or (1, bins of the whole excerpt)."""
        if kind == "spectrogram":
            hz = row_frequencies_hz(recognizer, origin)
        else:
            samples = origin["waveform"].shape[-1]
            bins = torch.arange(samples // 2 + 1, dtype=torch.float64)
            hz = bins * recognizer.sample_rate_hz / samples
        inside = ((hz >= self.low_hz) & (hz <= self.high_hz)).to(origin["signal"].device)
        if not bool(inside.any()):
            raise InputError(
                f"constraint.low_hz={self.low_hz:g}, high_hz={self.high_hz:g} holds none of the "
                f"{len(hz)} bands or bins; choose a wider band below "
                f"{recognizer.sample_rate_hz / 2:g} Hz"
            )
        return inside[None, :, None] if kind == "spectrogram" else inside[None]

    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the original outside the band."""
        if signal.ndim == 3:
            return super().__call__(signal, origin)
        start = origin["waveform"]
        change = torch.fft.rfft(signal - start) * origin[self._key]
        return start + torch.fft.irfft(change, n=signal.shape[-1])


class OnlyLoud(Mask):
    """Changes are allowed in bins that are nearly as loud as the original's loudest bin.

    Args:
        below_peak_db: how far below it a bin may lie.

    Raises:
        InputError: when it is negative.
    """

    def __init__(self, *, below_peak_db: float) -> None:
        if not below_peak_db >= 0:
            raise InputError(
                f"constraint.below_peak_db={below_peak_db}; expected at least 0, such as 40"
            )
        self.below_peak_db = below_peak_db
        super().__init__(f"{below_peak_db}")

    def mask(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Tensor:
        """Return (items, rows, frames)."""
        level = log_magnitude(recognizer, origin)
        peak = level.amax(dim=(1, 2), keepdim=True)
        return level >= peak - self.below_peak_db * NATURAL_PER_DB
