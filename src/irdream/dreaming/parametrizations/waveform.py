"""Dreaming the sound: the waveform is changed through the front end, and is the dream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive
from irdream.errors import InputError
from irdream.recognizer import Recognizer

QUIETEST_RMS = 1e-3  # of full scale; so that digital silence can be changed


@dataclass(frozen=True, kw_only=True)
class _Start(Start):
    peak: Tensor  # the largest magnitude of a dream, (items, 1)


class Waveform(Additive[_Start]):
    """The signal is the waveform (items, samples); full scale is 1.

    A step is a percentage of the original's root mean square, so that it is as large, against
    what is heard, in a quiet excerpt as in a loud one: n steps in one direction leave an SNR
    of -20 log10(n * step_size / 100) dB.

    Args:
        peak: largest magnitude of a dream; that of its original where this is above 1, so that it
            is dreamed as it is.

    Raises:
        InputError: when the peak is not above 0.
    """

    step_unit = "% of the original's RMS"
    acts_on: Literal["spectrogram", "sound"] = "sound"

    def __init__(self, *, peak: float = 1.0) -> None:
        if not peak > 0:
            raise InputError(f"parametrization.peak={peak}; expected a number above 0, such as 1")
        self.peak = peak

    def start(self, recognizer: Recognizer, originals: Originals) -> _Start:
        """Return the original, and the largest magnitude of its dream."""
        waveform = originals.waveform_for(self)
        loudest = waveform.abs().amax(dim=1, keepdim=True)
        peak = torch.where(loudest > 1.0, loudest.clamp(min=self.peak), self.peak)
        return _Start(**vars(originals), signal=waveform, peak=peak)

    def unit(self, start: _Start) -> Tensor:
        """Return a hundredth of the original's RMS, (items, 1)."""
        rms = start.signal.square().mean(dim=1, keepdim=True).sqrt()
        return rms.clamp(min=QUIETEST_RMS) / 100.0

    def signal(self, start: _Start, parameters: Tensor) -> Tensor:
        """Return the dream, clipped to the peak."""
        return super().signal(start, parameters).clamp(-start.peak, start.peak)

    def waveform(self, recognizer: Recognizer, start: _Start, signal: Tensor) -> Tensor:
        """Return the signal."""
        return signal

    def log_mel(
        self, recognizer: Recognizer, start: _Start, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Analyze the sound."""
        return recognizer.log_mel(signal if waveform is None else waveform)
