"""Dreaming the sound: the waveform is changed through the front end, and is the dream."""

from __future__ import annotations

from torch import Tensor

from irdream.errors import InputError
from irdream.recognizer import Recognizer


class Waveform:
    """The signal is the waveform (items, samples); full scale is 1.

    A step is a percentage of the original's root mean square, so that it is as large, against
    what is heard, in a quiet excerpt as in a loud one: n steps in one direction leave an SNR
    of -20 log10(n * step_size / 100) dB.

    Args:
        peak: largest magnitude of a dream.
    """

    step_unit = "% of the original's RMS"

    def __init__(self, *, peak: float = 1.0) -> None:
        if not peak > 0:
            raise InputError(f"parametrization.peak={peak}; expected a number above 0, such as 1")
        self.peak = peak

    def start(self, recognizer: Recognizer, waveform: Tensor) -> Tensor:
        """Return the original."""
        return waveform

    def step(self, signal: Tensor, step_size: float) -> Tensor:
        """Return (items, 1); for digital silence a share of 1e-3 of full scale."""
        rms = signal.square().mean(dim=1, keepdim=True).sqrt()
        return step_size / 100.0 * rms.clamp(min=1e-3)

    def constrain(self, signal: Tensor) -> Tensor:
        """Clip to the peak."""
        return signal.clamp(-self.peak, self.peak)

    def log_mel(self, recognizer: Recognizer, signal: Tensor) -> Tensor:
        """Analyze the signal."""
        return recognizer.log_mel(signal)

    def waveform(self, signal: Tensor) -> Tensor:
        """Return the signal."""
        return signal
