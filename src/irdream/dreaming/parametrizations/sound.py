"""Dreaming the sound, a gain on its short-time spectrum, or its overtones: dreamed as written."""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import Count, Positive, checked
from irdream.audio.pitch import HOP_SECONDS, PERIODS, PITCH_HZ, pitch_hz
from irdream.audio.stft import NATURAL_PER_DB, inverse_stft, stft
from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive, coarser_grid, one_db, resize
from irdream.errors import InputError

QUIETEST_RMS = 1e-3  # of full scale; so that digital silence can be changed
LEAST_VOICED = 0.5  # of the frames
_TINY = 1e-9


@checked
@dataclass(kw_only=True)
class Waveform(Additive):
    """The signal is the waveform (items, samples); full scale is 1.

    A step is a percentage of the original's root mean square, so that quiet and loud excerpts
    change alike: n steps in one direction leave an SNR of -20 log10(n * step_size / 100) dB. An
    original beyond full scale has its own peak, so that it is dreamed as it is.
    """

    step_unit = "% of the original's RMS"
    kinds = ("sound",)
    peak: Positive = 1.0  # largest magnitude of a dream

    def start(self, originals: Originals) -> Start:
        """Return the original, and the largest magnitude of its dream."""
        waveform = originals.waveform_for(self)
        loudest = waveform.abs().amax(dim=1, keepdim=True)
        peak = torch.where(loudest > 1.0, loudest.clamp(min=self.peak), self.peak)
        return originals.start(waveform, peak=peak)

    def unit(self, start: Start) -> Tensor:
        rms = start.signal.square().mean(dim=1, keepdim=True).sqrt()
        return rms.clamp(min=QUIETEST_RMS) / 100.0

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        return super().signal(start, parameters).clamp(-start.own["peak"], start.own["peak"])

    def waveform(self, start: Start, signal: Tensor) -> Tensor:
        return signal


class _Gain(Additive):
    """The signal is a gain (items, rows, frames), natural log, 0 undreamed, that makes sound."""

    step_unit = "dB"
    kinds = ("spectrogram", "sound")  # the gain can be held, and the sound that it makes
    max_gain_db: float
    keep_peak: bool

    @abstractmethod
    def _changed(self, start: Start, signal: Tensor) -> Tensor:
        """Return the sound (items, samples) at its own level."""

    def unit(self, start: Start) -> Tensor:
        return one_db(start)

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        return self._limited(resize(parameters, start.signal.shape[1:]))

    def waveform(self, start: Start, signal: Tensor) -> Tensor:
        sound = self._changed(start, signal)
        return sound * self._level(start, sound)

    def beside(self, start: Start, signal: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sound at the level that keeps the peak, and this level."""
        level = self._level(start, self._changed(start, signal))
        return level * sound, level

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        return super().absorb(start, parameters, self._limited(signal))

    def _level(self, start: Start, sound: Tensor) -> Tensor:
        """Return the factor that gives sounds the original's peak, (items, 1).

        Its gradient is that of the RMS: through the peak a step would raise one sample, and make
        all else softer.
        """
        if not self.keep_peak:
            return sound.new_ones(())
        sounds = start.waveform_for(self), sound.detach()
        original, dream = (each.abs().amax(dim=1, keepdim=True) for each in sounds)
        least = torch.finfo(sound.dtype).tiny
        energy = sound.square().sum(dim=1, keepdim=True).clamp(min=least)
        return original / (dream.clamp(min=least) * (energy / energy.detach()).sqrt())

    def _limited(self, gain: Tensor) -> Tensor:
        most = self.max_gain_db * NATURAL_PER_DB
        return gain.clamp(-most, most)


@checked
@dataclass(kw_only=True)
class StftGain(_Gain):
    """The signal is a gain on each bin and frame of the short-time spectrum (items, bins, frames).

    How it becomes sound: the original's STFT times exp(gain), with the original's phase, through
    the inverse STFT. The network gets what its front end makes of that sound in every step, so
    nothing is left to a sonification; the STFT is the front end's, or `Recognizer.stft_grid`. What
    the original lacks cannot be made louder than its noise floor, and digital silence stays silent.
    With a `max_gain_db` of more than 20 dB single bins near silence run away, and can be heard.

    With a `floor_db` the gain also raises harmonics of the pitch and noise, so far below the RMS of
    50 ms (see `excitation`), so that overtones and breath can come where there are none.
    """

    max_gain_db: Positive = 12.0  # up or down
    keep_peak: bool = False  # of the original; otherwise it may exceed full scale
    floor_db: Positive | None = None  # None: only what there is

    def start(self, originals: Originals) -> Start:
        """Return no gain; refuse a front end that is no STFT and has no known sample rate."""
        recognizer, floor = originals.recognizer, None
        if not hasattr(recognizer.stft_grid, "n_fft"):
            raise InputError(
                f"parametrization StftGain with {type(recognizer.frontend).__name__}; expected a "
                "front end with n_fft and hop_samples, such as LogMel: choose "
                "parametrization=waveform or log_mel"
            )
        waveform = originals.waveform_for(self)
        spectrum = stft(waveform, recognizer.stft_grid)
        magnitude = spectrum.abs()
        if self.floor_db is not None:
            rate_hz = recognizer.sample_rate_hz
            added = [excitation(sound, rate_hz, self.floor_db) for sound in waveform]
            floor = stft(torch.stack(added), recognizer.stft_grid)
        none = torch.zeros_like(magnitude)
        return originals.start(none, spectrum=magnitude, stft=spectrum, floor=floor)

    def beside(self, start: Start, signal: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sound with the same gain, and the level that keeps the peak."""
        grid = start.recognizer.stft_grid
        sound = inverse_stft(stft(sound, grid) * signal.exp(), grid, samples=sound.shape[-1])
        return super().beside(start, signal, sound)

    def _changed(self, start: Start, signal: Tensor) -> Tensor:
        spectrum = start.own["stft"] * signal.exp()
        if start.own["floor"] is not None:
            spectrum = spectrum + start.own["floor"] * signal.expm1()
        samples = start.waveform_for(self).shape[-1]
        return inverse_stft(spectrum, start.recognizer.stft_grid, samples=samples)


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

    def parameters(self, start: Start) -> Tensor:
        """Return zeros on the grid."""
        return self.regrid(start, start.signal.new_zeros(len(start.signal), 2, 2), (1.0, 1.0))

    def unit(self, start: Start) -> Tensor:
        """Return 1, the same for all items."""
        return start.signal.new_ones(len(start.signal), 1, 1)

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        """Return the logarithm of the gain at full size."""
        return F.logsigmoid(resize(parameters, start.signal.shape[1:]))

    def regrid(self, start: Start, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Interpolate the logits to a grid that is coarser than its own by these factors."""
        cells = self.bins * coarser[0], self.frames * coarser[1]
        return resize(parameters, coarser_grid(start.signal.shape[1:], cells))

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the parameters as they are: logits of a gain that is held would be infinite."""
        return parameters


@checked
@dataclass(kw_only=True)
class Harmonic(_Gain):
    """A gain on the harmonics of a tracked pitch, then on bands of noise, (items, rows, points).

        dream(t) = original(t) + sum over k of (exp(g_k(t)) - 1) b_k(t)

    Each b_k is a harmonic of the original, found by shifting it to 0 Hz along the pitch and
    smoothing over two periods, or a band of what the harmonics leave over. So without gains the
    dream is the original itself, and a gain is smooth in time: it cannot flicker from bin to bin.
    To each b_k is added a little of a harmonic, or of noise, as loud as `floor_db` says, so that
    there is something to be made louder where the original has no overtone. The sound gets the
    original's peak.

    After J. Engel et al., "DDSP: differentiable digital signal processing", ICLR 2020, section 3:
    there amplitudes and noise bands are a network's outputs, here they are analysed and then
    dreamed. Rows of the samples' length are kept: 15 MB for 3 s at 22,050 Hz.

    Raises:
        InputError: by `start`, for a sound with less than half of its frames voiced, as noise,
            drums and dense mixtures. A chord with a common period passes, as one low note.
    """

    keep_peak = True
    harmonics: Count = 40  # those above the network's band stay silent
    bands: Count = 16  # of noise, wider toward high frequencies
    points_a_second: Positive = 20.0  # of a gain, between which it is interpolated
    max_gain_db: Positive = 24.0  # up or down
    floor_db: Positive = 40.0  # how loud each is at least, below the RMS of the frame

    def start(self, originals: Originals) -> Start:
        """Return no gain, and what each gain is of, (items, rows, samples)."""
        sound, rate_hz = originals.waveform_for(self), originals.recognizer.sample_rate_hz
        rows = torch.stack([self._rows(originals.recognizer, one) for one in sound])
        points = max(2, round(sound.shape[1] / rate_hz * self.points_a_second))
        none = sound.new_zeros(len(sound), self.harmonics + self.bands, points)
        return originals.start(none, rows=rows)

    def _changed(self, start: Start, signal: Tensor) -> Tensor:
        rows = start.own["rows"]
        size = rows.shape[2]
        more = F.interpolate(signal.expm1(), size=size, mode="linear", align_corners=True)
        return start.waveform_for(self) + (more * rows).sum(dim=1)

    def _rows(self, recognizer: Any, sound: Tensor) -> Tensor:
        """Return harmonics and bands of a sound (samples,), (rows, samples)."""
        rate_hz = recognizer.sample_rate_hz
        alone = sound.cpu()  # phases need float64, which not every device has
        found = harmonics_of(alone, pitch_at_samples(alone, rate_hz), self.harmonics, rate_hz)
        harmonics, pure = (one.to(sound) for one in found)
        rest = sound - harmonics.sum(dim=0)
        floor, noise = _floor(sound, rate_hz, self.floor_db), _noise(sound)
        spectra = stft(torch.stack([rest, noise]), recognizer.stft_grid)
        bins, bands = spectra.shape[1], []
        edges = [round(bins * (k / self.bands) ** 2) for k in range(self.bands + 1)]
        for first, last in itertools.pairwise(edges):  # wider toward high frequencies
            band = torch.zeros_like(spectra)
            band[:, first:last] = spectra[:, first:last]
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
        amplitude = 2.0 * _smooth(sound * turn.conj(), taper)
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
    """Return the RMS over 50 ms, lowered by `floor_db`, (samples,)."""
    taper = torch.hann_window(sample_rate_hz // 20, device=sound.device, dtype=sound.dtype)
    power = _smooth(sound.square(), taper).clamp(min=0.0)
    return power.sqrt() * 10.0 ** (-floor_db / 20.0)


def _noise(like: Tensor) -> Tensor:
    """Return white noise, always the same, of RMS 1."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(like), generator=generator, device="cpu").to(like)


def _smooth(values: Tensor, taper: Tensor) -> Tensor:
    """Return the mean of (samples,) under a taper, centered."""
    n_fft = len(values) + len(taper)
    product = torch.fft.fft(values, n_fft) * torch.fft.fft(taper / taper.sum(), n_fft)
    smooth = torch.fft.ifft(product)[len(taper) // 2 :][: len(values)]
    return smooth if values.is_complex() else smooth.real
