"""Dreaming the sound, or a gain on its short-time spectrum: what is dreamed is what is written."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import Count, Positive, checked
from irdream.audio.pitch import HOP_SECONDS, PERIODS, PITCH_HZ, pitch_hz
from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import NATURAL_PER_DB, Additive, resize
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


LEAST_VOICED = 0.5  # of the frames
_TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class _HarmonicStart(Start):
    rows: Tensor  # what each gain is of, (items, rows, samples)
    peak: Tensor  # of the original, (items, 1)


@checked
class Harmonic(Additive[_HarmonicStart]):
    """The signal is a gain on harmonics, then on bands of noise, (items, rows, points in time).

    In natural log; 0 undreamed. The sound gets the original's peak.

    Args:
        harmonics: how many; those above the network's band stay silent.
        bands: of noise, wider toward high frequencies.
        points_a_second: of a gain, between which it is interpolated.
        max_gain_db: the largest gain, up or down.
        floor_db: how loud a harmonic or band is at least, below the RMS of the frame.

    Raises:
        InputError: by `start`, for a sound with less than half of its frames voiced, as noise,
            drums and dense mixtures. A chord with a common period passes, as one low note.
    """

    step_unit = "dB"
    kinds = ("spectrogram", "sound")

    def __init__(
        self,
        *,
        harmonics: Count = 40,
        bands: Count = 16,
        points_a_second: Positive = 20.0,
        max_gain_db: Positive = 24.0,
        floor_db: Positive = 40.0,
    ) -> None:
        self.harmonics, self.bands = harmonics, bands
        self.points_a_second, self.floor_db = points_a_second, floor_db
        self._most = max_gain_db * NATURAL_PER_DB

    def start(self, recognizer: Recognizer, originals: Originals) -> _HarmonicStart:
        """Return no gain, and the harmonics and bands of the originals."""
        sound = originals.waveform_for(self)
        rows = torch.stack([self._rows(recognizer, one) for one in sound])
        points = max(2, round(sound.shape[1] / recognizer.sample_rate_hz * self.points_a_second))
        none = sound.new_zeros(len(sound), self.harmonics + self.bands, points)
        peak = sound.abs().amax(dim=1, keepdim=True)
        return _HarmonicStart(**vars(originals), signal=none, rows=rows, peak=peak)

    def unit(self, start: _HarmonicStart) -> Tensor:
        """Return 1 dB in natural units, the same for all items."""
        return start.signal.new_full((len(start.signal), 1, 1), NATURAL_PER_DB)

    def signal(self, start: _HarmonicStart, parameters: Tensor) -> Tensor:
        """Return the gain at full size, clipped to the largest."""
        size = tuple(start.signal.shape[1:])
        return resize(parameters, size).clamp(-self._most, self._most)

    def waveform(self, recognizer: Recognizer, start: _HarmonicStart, signal: Tensor) -> Tensor:
        """Return the original with its harmonics and bands at their gains."""
        sound = self._changed(start, signal)
        return sound * self._level(start, sound)

    def beside(
        self, recognizer: Recognizer, start: _HarmonicStart, signal: Tensor, sound: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sound, and the level that keeps the peak."""
        level = self._level(start, self._changed(start, signal))
        return level * sound, level

    def absorb(self, start: _HarmonicStart, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the gain, clipped to the largest."""
        return super().absorb(start, parameters, signal.clamp(-self._most, self._most))

    def _changed(self, start: _HarmonicStart, signal: Tensor) -> Tensor:
        more = F.interpolate(
            signal.expm1(), size=start.rows.shape[2], mode="linear", align_corners=True
        )
        return start.waveform_for(self) + (more * start.rows).sum(dim=1)

    @staticmethod
    def _level(start: _HarmonicStart, sound: Tensor) -> Tensor:
        return start.peak / sound.abs().amax(dim=1, keepdim=True).clamp(min=_TINY)

    def _rows(self, recognizer: Recognizer, sound: Tensor) -> Tensor:
        """Return harmonics and bands of a sound (samples,), (rows, samples)."""
        rate_hz = recognizer.sample_rate_hz
        alone = sound.cpu()  # phases need float64, which not every device has
        found = harmonics_of(alone, pitch_at_samples(alone, rate_hz), self.harmonics, rate_hz)
        harmonics, pure = (one.to(sound) for one in found)
        rest = sound - harmonics.sum(dim=0)
        floor, noise = _floor(sound, rate_hz, self.floor_db), _noise(sound)
        spectra = stft(torch.stack([rest, noise]), recognizer.stft_grid)
        bands = []
        for edge in _edges(spectra.shape[1], self.bands):
            band = torch.zeros_like(spectra)
            band[:, edge] = spectra[:, edge]
            own, other = inverse_stft(band, recognizer.stft_grid, samples=len(sound))
            bands.append(own + floor * other / other.square().mean().sqrt().clamp(min=_TINY))
        return torch.cat([harmonics + floor * pure, torch.stack(bands)])


def harmonics_of(
    sound: Tensor, pitch: Tensor, count: int, sample_rate_hz: int
) -> tuple[Tensor, Tensor]:
    """Return the harmonics (count, samples) of a sound (samples,), and the same of amplitude 1.

    Each is shifted to 0 Hz along the pitch (samples,), in Hz, smoothed by a Hann taper of two of
    the longest periods, whose zeros are the neighboring harmonics, and shifted back.
    """
    length = round(2.0 * sample_rate_hz / float(pitch.amin()))
    taper = torch.hann_window(length, dtype=torch.float64, device=sound.device)
    found, pure = [], []
    for turn in _turns(pitch, count, sample_rate_hz):
        amplitude = 2.0 * _smooth((sound * turn.conj())[None], taper / taper.sum())[0]
        found.append((amplitude * turn).real)
        pure.append(turn.real)
    return torch.stack(found).to(sound), torch.stack(pure).to(sound)


def _turns(pitch: Tensor, count: int, sample_rate_hz: int) -> Iterator[Tensor]:
    """Yield exp(i k phase) of the harmonics, 0 above the network's band, (samples,)."""
    phase = (2.0 * math.pi / sample_rate_hz * pitch.double()).cumsum(0)
    for order in range(1, count + 1):
        inside = order * pitch < 0.45 * sample_rate_hz
        yield torch.polar(inside.double(), order * phase)


def pitch_at_samples(sound: Tensor, rate_hz: int) -> Tensor:
    """Return the pitch at each sample in Hz, interpolated where unvoiced."""
    found = pitch_hz(sound[None], sample_rate_hz=rate_hz)[0].double().numpy()
    voiced = np.isfinite(found)
    if voiced.mean() < LEAST_VOICED:
        raise InputError(
            f"parametrization Harmonic on a sound with {voiced.mean():.0%} of its frames "
            f"voiced; expected {LEAST_VOICED:.0%} or more, as of one note at a time: choose "
            "parametrization=low_resolution_stft_gain"
        )
    middle = (np.arange(len(found)) * HOP_SECONDS + PERIODS / PITCH_HZ[0] / 2)[voiced]
    octaves = np.log2(found[voiced])
    padded = np.pad(octaves, 2, mode="edge")  # a median of five takes single leaps away
    octaves = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return torch.from_numpy(2.0 ** np.interp(np.arange(len(sound)) / rate_hz, middle, octaves)).to(
        sound
    )


def excitation(sound: Tensor, sample_rate_hz: int, floor_db: float) -> Tensor:
    """Return equal harmonics of the pitch and white noise, of one RMS, `floor_db` below a sound.

    Noise alone, where the sound has no pitch. Both are (samples,).
    """
    parts = [_noise(sound)]
    with contextlib.suppress(InputError):
        alone = sound.cpu()
        pitch = pitch_at_samples(alone, sample_rate_hz)
        count = int(0.45 * sample_rate_hz / float(pitch.amin()))
        turns = [turn.real for turn in _turns(pitch, count, sample_rate_hz)]
        parts.append(torch.stack(turns).sum(dim=0).to(sound))
    both = sum(part / part.square().mean().sqrt() for part in parts) / len(parts) ** 0.5
    return both * _floor(sound, sample_rate_hz, floor_db)


def _floor(sound: Tensor, sample_rate_hz: int, floor_db: float) -> Tensor:
    """Return the RMS over 50 ms, so many dB lower, (samples,)."""
    taper = torch.hann_window(sample_rate_hz // 20, device=sound.device, dtype=sound.dtype)
    power = _smooth(sound.square()[None], taper / taper.sum())[0].clamp(min=0.0)
    return power.sqrt() * 10.0 ** (-floor_db / 20.0)


def _noise(like: Tensor) -> Tensor:
    """Return white noise, always the same, of RMS 1."""
    return torch.randn(len(like), generator=torch.Generator().manual_seed(0)).to(like)


def _smooth(values: Tensor, taper: Tensor) -> Tensor:
    """Return the convolution of (rows, samples) with a taper, centered."""
    n_fft = values.shape[1] + len(taper)
    product = torch.fft.fft(values, n_fft) * torch.fft.fft(taper, n_fft)
    smooth = torch.fft.ifft(product)[:, len(taper) // 2 :][:, : values.shape[1]]
    return smooth if values.is_complex() else smooth.real


def _edges(bins: int, bands: int) -> list[slice]:
    """Return slices that share all bins, wider toward high frequencies, some perhaps empty."""
    edges = [round(bins * (k / bands) ** 2) for k in range(bands + 1)]
    return [slice(first, last) for first, last in itertools.pairwise(edges)]
