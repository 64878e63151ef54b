"""A spectrogram is replaced, every few steps, by one that a sound has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from irdream.arguments import Natural, checked
from irdream.audio.stft import as_many_frames, band_shares, inverse_stft, stft
from irdream.dreaming.batch import Kind, Start, log_of
from irdream.dreaming.constraints.base import Constraint
from irdream.recognizer import Recognizer


@checked
class Consistency(Constraint):
    """The signal becomes that of the sound it makes: the original's STFT times its gain, inverted.

    It acts every so many steps, 0: never. A log-mel is made a gain on bins as `sonification` does
    it, and becomes the log-mel of the sound; a waveform stays as it is. `prepare` refuses log-mels
    alone.
    """

    acts_on = ("spectrogram", "sound")

    def __init__(self, *, every: Natural) -> None:
        self.every = every

    def prepare(self, recognizer: Recognizer, start: Start, kind: Kind) -> dict[str, Any]:
        """Return the original's spectrum, and what relates its bins to mel bands."""
        if kind == "sound" or not self.every:
            return {}
        waveform, frontend = start.waveform_for(self), recognizer.stft_grid
        prepared = {"recognizer": recognizer, "stft": stft(waveform, frontend), "sound": waveform}
        if start.spectrum is None:
            prepared["log_mel"] = start.log_mel
        return prepared

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        if not prepared:
            return signal
        recognizer, spectrum = prepared["recognizer"], prepared["stft"]
        frontend, gain = recognizer.stft_grid, signal
        if "log_mel" in prepared:
            gain = band_shares(cast(Tensor, frontend.mel_basis)) @ (signal - prepared["log_mel"])
            gain = as_many_frames(gain, spectrum.shape[-1])
        samples = prepared["sound"].shape[-1]
        sound = inverse_stft(spectrum * gain.exp(), frontend, samples=samples)
        if "log_mel" in prepared:
            return recognizer.log_mel(sound)
        return log_of(stft(sound, frontend).abs()) - log_of(spectrum.abs())


def with_consistency(
    constraint: Constraint | Sequence[Constraint] | None, every: int
) -> Constraint | Sequence[Constraint] | None:
    """Return constraints with a consistency before them; as they are where `every` is 0."""
    if not every:
        return constraint
    given = [constraint] if isinstance(constraint, Constraint) else constraint or ()
    return [Consistency(every=every), *given]
