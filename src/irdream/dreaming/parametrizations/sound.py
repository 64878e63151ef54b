"""Dreaming the sound, or a gain on its short-time spectrum: what is dreamed is what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import Count, Positive, checked
from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive, resize
from irdream.dreaming.parametrizations.harmonic import excitation
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.recognizer import Recognizer

QUIETEST_RMS = 1e-3  # of full scale; so that digital silence can be changed


@dataclass(frozen=True, kw_only=True)
class _WaveformStart(Start):
    peak: Tensor  # the largest magnitude of a dream, (items, 1)


@checked
@dataclass(kw_only=True)
class Waveform(Additive[_WaveformStart]):
    """The signal is the waveform (items, samples); full scale is 1.

    A step is a percentage of the original's root mean square, so that quiet and loud excerpts
    change alike: n steps in one direction leave an SNR of -20 log10(n * step_size / 100) dB. An
    original beyond full scale has its own peak, so that it is dreamed as it is.
    """

    step_unit = "% of the original's RMS"
    kinds = ("sound",)
    peak: Positive = 1.0  # largest magnitude of a dream

    def start(self, recognizer: Recognizer, originals: Originals) -> _WaveformStart:
        """Return the original, and the largest magnitude of its dream."""
        waveform = originals.waveform_for(self)
        loudest = waveform.abs().amax(dim=1, keepdim=True)
        peak = torch.where(loudest > 1.0, loudest.clamp(min=self.peak), self.peak)
        return _WaveformStart(**vars(originals), signal=waveform, peak=peak)

    def unit(self, start: _WaveformStart) -> Tensor:
        rms = start.signal.square().mean(dim=1, keepdim=True).sqrt()
        return rms.clamp(min=QUIETEST_RMS) / 100.0

    def signal(self, start: _WaveformStart, parameters: Tensor) -> Tensor:
        return super().signal(start, parameters).clamp(-start.peak, start.peak)

    def waveform(self, recognizer: Recognizer, start: _WaveformStart, signal: Tensor) -> Tensor:
        return signal


@dataclass(frozen=True, kw_only=True)
class _GainStart(Start):
    stft: Tensor  # of the original, complex, (items, bins, frames)
    peak: Tensor  # the largest magnitude of the original, (items, 1)
    floor: Tensor | None  # of the excitation, complex, (items, bins, frames)


@checked
@dataclass(kw_only=True)
class StftGain(Additive[_GainStart]):
    """The signal is a gain on each bin and frame (items, bins, frames), natural log; 0 undreamed.

    How it becomes sound: the original's STFT times exp(gain), with the original's phase, through
    the inverse STFT. The network gets what its front end makes of that sound in every step, so
    nothing is left to a sonification; the STFT is the front end's, or `Recognizer.stft_grid`. What
    the original lacks cannot be made louder than its noise floor, and digital silence stays silent.
    With a `max_gain_db` of more than 20 dB single bins near silence run away, and can be heard.

    With a `floor_db` the gain also raises harmonics of the pitch and noise, so far below the RMS of
    50 ms (see `harmonic.excitation`), which are not there without it: so overtones and breath can
    come where there are none.
    """

    step_unit = "dB"
    kinds = ("spectrogram", "sound")  # the gain can be held, and the sound that it makes
    max_gain_db: Positive = 12.0  # up or down
    keep_peak: bool = False  # of the original; otherwise it may exceed full scale
    floor_db: Positive | None = None  # None: only what there is

    def start(self, recognizer: Recognizer, originals: Originals) -> _GainStart:
        """Return no gain; refuse a front end that is no STFT and has no known sample rate."""
        if not hasattr(recognizer.stft_grid, "n_fft"):
            raise InputError(
                f"parametrization StftGain with {type(recognizer.frontend).__name__}; expected a "
                "front end with n_fft and hop_samples, such as LogMel: choose "
                "parametrization=waveform or log_mel"
            )
        waveform = originals.waveform_for(self)
        spectrum = stft(waveform, recognizer.stft_grid)
        magnitude = spectrum.abs()
        none = torch.zeros_like(magnitude)
        peak, floor = waveform.abs().amax(dim=1, keepdim=True), None
        if self.floor_db is not None:
            rate_hz = recognizer.sample_rate_hz
            added = [excitation(sound, rate_hz, self.floor_db) for sound in waveform]
            floor = stft(torch.stack(added), recognizer.stft_grid)
        return _GainStart(
            **vars(originals), signal=none, spectrum=magnitude, stft=spectrum, peak=peak,
            floor=floor,
        )  # fmt: skip

    def unit(self, start: _GainStart) -> Tensor:
        """Return 1 dB in natural units, the same for all items."""
        return start.signal.new_full((len(start.signal), 1, 1), NATURAL_PER_DB)

    def signal(self, start: _GainStart, parameters: Tensor) -> Tensor:
        return self._limited(resize(parameters, tuple(start.signal.shape[1:])))

    def waveform(self, recognizer: Recognizer, start: _GainStart, signal: Tensor) -> Tensor:
        sound = self._changed(recognizer, start, signal)
        return sound * self._level(start, sound)

    def _changed(self, recognizer: Recognizer, start: _GainStart, signal: Tensor) -> Tensor:
        """Return the sound at its own level."""
        spectrum = start.stft * signal.exp()
        if start.floor is not None:
            spectrum = spectrum + start.floor * signal.expm1()
        samples = start.waveform_for(self).shape[-1]
        return inverse_stft(spectrum, recognizer.stft_grid, samples=samples)

    def beside(
        self, recognizer: Recognizer, start: _GainStart, signal: Tensor, sound: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sound with the same gain, and the level that keeps the peak."""
        level = self._level(start, self._changed(recognizer, start, signal))
        grid, samples = recognizer.stft_grid, sound.shape[-1]
        return level * inverse_stft(stft(sound, grid) * signal.exp(), grid, samples=samples), level

    def _level(self, start: _GainStart, sound: Tensor) -> Tensor:
        """Return the factor that gives sounds the original's peak, (items, 1)."""
        if not self.keep_peak:
            return sound.new_ones(())
        peak = sound.abs().amax(dim=1, keepdim=True)
        return start.peak / peak.clamp(min=torch.finfo(peak.dtype).tiny)

    def absorb(self, start: _GainStart, parameters: Tensor, signal: Tensor) -> Tensor:
        return super().absorb(start, parameters, self._limited(signal))

    def _limited(self, gain: Tensor) -> Tensor:
        most = self.max_gain_db * NATURAL_PER_DB
        return gain.clamp(-most, most)


@checked
class StftMask(StftGain):
    """A gain of 0 to 1 on each bin and frame; the signal is its natural logarithm.

    The parameters are logits, and 0 at first, a gain of 1/2. They lie on a coarser grid and are
    interpolated, so that the mask is smooth.

    Args:
        bins: of the spectrum to a point of the grid.
        frames: to a point of it.
    """

    step_unit = "of a logit"

    def __init__(self, *, bins: Count = 4, frames: Count = 4) -> None:
        super().__init__()
        self.bins, self.frames = bins, frames

    def parameters(self, start: _GainStart) -> Tensor:
        """Return zeros on the grid."""
        return self.regrid(start, start.signal.new_zeros(len(start.signal), 2, 2), (1.0, 1.0))

    def unit(self, start: _GainStart) -> Tensor:
        """Return 1, the same for all items."""
        return start.signal.new_ones(len(start.signal), 1, 1)

    def signal(self, start: _GainStart, parameters: Tensor) -> Tensor:
        """Return the logarithm of the gain at full size."""
        return F.logsigmoid(resize(parameters, tuple(start.signal.shape[1:])))

    def regrid(self, start: _GainStart, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Interpolate the logits to a grid that is coarser than its own by these factors."""
        cells = self.bins * coarser[0], self.frames * coarser[1]
        shape = start.signal.shape[1:]
        grid = [min(n, max(2, round(n / cell))) for n, cell in zip(shape, cells, strict=True)]
        return resize(parameters, tuple(grid))

    def absorb(self, start: _GainStart, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the parameters as they are: logits of a gain that is held would be infinite."""
        return parameters
