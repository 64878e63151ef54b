"""Dreaming a gain on the original's short-time spectrum: what is dreamed is what is heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive, resize
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class _Start(Start):
    stft: Tensor  # of the original, complex, (items, bins, frames)


class StftGain(Additive[_Start]):
    """The signal is a gain on each bin and frame (items, bins, frames), natural log; 0 undreamed.

    How it becomes sound: the original's STFT times exp(gain), with the original's phase, through
    the inverse STFT. The recognizer hears the front end of that sound in every step, so nothing
    is left to a sonification. What the original lacks cannot be made louder than its noise floor,
    and digital silence stays silent. The sound may exceed full scale.

    Args:
        max_gain_db: the largest gain, up or down; with more than 20 dB single bins near silence
            run away, and are heard.

    Raises:
        InputError: when the largest gain is not above 0.
    """

    step_unit = "dB"
    acts_on: Literal["spectrogram", "sound"] = "spectrogram"

    def __init__(self, *, max_gain_db: float = 12.0) -> None:
        if not max_gain_db > 0:
            raise InputError(
                f"parametrization.max_gain_db={max_gain_db}; expected a number above 0, such as 12"
            )
        self.max_gain_db = max_gain_db
        self._most = max_gain_db * NATURAL_PER_DB

    @property
    def kinds(self) -> tuple[Literal["spectrogram", "sound"], ...]:
        """Return both: the gain can be held, and the sound that it makes."""
        return ("spectrogram", "sound")

    def start(self, recognizer: Recognizer, originals: Originals) -> _Start:
        """Return no gain, and the original's spectrum.

        Raises:
            InputError: for a front end that is no STFT.
        """
        if not hasattr(recognizer.frontend, "n_fft"):
            raise InputError(
                f"parametrization StftGain with {type(recognizer.frontend).__name__}; expected a "
                "front end with n_fft and hop_samples, such as HanLogMel: choose "
                "parametrization=waveform or log_mel"
            )
        spectrum = stft(originals.waveform_for(self), recognizer.frontend)
        magnitude = spectrum.abs()
        none = torch.zeros_like(magnitude)
        return _Start(**vars(originals), signal=none, spectrum=magnitude, stft=spectrum)

    def unit(self, start: _Start) -> Tensor:
        """Return 1 dB in natural units, the same for all items."""
        return start.signal.new_full((len(start.signal), 1, 1), NATURAL_PER_DB)

    def signal(self, start: _Start, parameters: Tensor) -> Tensor:
        """Return the gain at full size, clipped to the largest."""
        size = tuple(start.signal.shape[1:])
        return resize(parameters, size).clamp(-self._most, self._most)

    def waveform(self, recognizer: Recognizer, start: _Start, signal: Tensor) -> Tensor:
        """Return the sound of the original's spectrum times the gain."""
        samples = start.waveform_for(self).shape[-1]
        return inverse_stft(start.stft * signal.exp(), recognizer.frontend, samples=samples)

    def log_mel(
        self, recognizer: Recognizer, start: _Start, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Analyze the sound."""
        if waveform is None:
            waveform = self.waveform(recognizer, start, signal)
        return recognizer.log_mel(waveform)

    def absorb(self, start: _Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the gain, clipped to the largest."""
        return super().absorb(start, parameters, signal.clamp(-self._most, self._most))
