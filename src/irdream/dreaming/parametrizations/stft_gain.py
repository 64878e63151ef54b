"""Dreaming a gain on the original's short-time spectrum: what is dreamed is what is heard."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.parametrizations.base import Additive, Origin, resize
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.recognizer import Recognizer

LEAST_MAGNITUDE = 1e-12  # so that the gain of digital silence is 0


class StftGain(Additive):
    """The signal is a gain on each bin and frame (items, bins, frames), natural log; 0 undreamed.

    How it becomes sound: the original's STFT times exp(gain), with the original's phase, through
    the inverse STFT. The recognizer hears the front end of that sound in every step, so nothing
    is left to a sonification. What the original lacks cannot be made louder than its noise floor,
    and digital silence stays silent. The sound may exceed full scale.

    It adds to the origin:
        "spectrum": the original's magnitudes |STFT|, (items, bins, frames).
        "stft": the same with its phase, complex.

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

    def start(self, recognizer: Recognizer, origin: Origin) -> Origin:
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
        spectrum = stft(origin["waveform"], recognizer.frontend)
        magnitude = spectrum.abs()
        return {
            "signal": magnitude.new_zeros(magnitude.shape),
            "spectrum": magnitude,
            "stft": spectrum,
        }

    def unit(self, origin: Origin) -> Tensor:
        """Return 1 dB in natural units, the same for all items."""
        return origin["signal"].new_full((len(origin["signal"]), 1, 1), NATURAL_PER_DB)

    def signal(self, origin: Origin, parameters: Tensor) -> Tensor:
        """Return the gain at full size, clipped to the largest."""
        size = tuple(origin["signal"].shape[1:])
        return resize(parameters, size).clamp(-self._most, self._most)

    def waveform(self, recognizer: Recognizer, origin: Origin, signal: Tensor) -> Tensor:
        """Return the sound of the original's spectrum times the gain."""
        samples = origin["waveform"].shape[-1]
        return inverse_stft(origin["stft"] * signal.exp(), recognizer.frontend, samples=samples)

    def consistent(self, recognizer: Recognizer, origin: Origin, signal: Tensor) -> Tensor:
        """Return the gain that the sound really has, once its frames have overlapped."""
        sound = self.waveform(recognizer, origin, signal)
        magnitude = stft(sound, recognizer.frontend).abs()
        least = LEAST_MAGNITUDE
        gain = magnitude.clamp(min=least).log() - origin["spectrum"].clamp(min=least).log()
        return gain.clamp(-self._most, self._most)

    def log_mel(
        self, recognizer: Recognizer, origin: Origin, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Analyze the sound."""
        if waveform is None:
            waveform = self.waveform(recognizer, origin, signal)
        return recognizer.log_mel(waveform)
