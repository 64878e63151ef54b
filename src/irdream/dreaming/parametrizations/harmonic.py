"""Dreaming the amplitudes of the harmonics of a tracked pitch, and of bands of the noise beside.

    dream(t) = original(t) + sum over k of (exp(g_k(t)) - 1) b_k(t)

Each b_k is a harmonic of the original, found by shifting it to 0 Hz along the pitch and smoothing
over two periods, or a band of what the harmonics leave over. So without gains the dream is the
original itself, and a gain is smooth in time: it cannot flicker from bin to bin. To each b_k is
added a little of a harmonic, or of noise, as loud as `floor_db` says, so that there is something to
be made louder where the original has no overtone.

After J. Engel et al., "DDSP: differentiable digital signal processing", ICLR 2020, section 3: there
amplitudes and noise bands are a network's outputs, here they are analysed and then dreamed. Pitches
are those of `irdream.audio.pitch`. Rows of the samples' length are kept: 15 MB for 3 s at 22,050
Hz.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import Count, Positive, checked
from irdream.audio.pitch import HOP_SECONDS, PERIODS, PITCH_HZ, pitch_hz
from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive, resize
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.recognizer import Recognizer

LEAST_VOICED = 0.5  # of the frames
_TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class _Start(Start):
    rows: Tensor  # what each gain is of, (items, rows, samples)
    peak: Tensor  # of the original, (items, 1)


@checked
class Harmonic(Additive[_Start]):
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

    def start(self, recognizer: Recognizer, originals: Originals) -> _Start:
        """Return no gain, and the harmonics and bands of the originals."""
        sound = originals.waveform_for(self)
        rows = torch.stack([self._rows(recognizer, one) for one in sound])
        points = max(2, round(sound.shape[1] / recognizer.sample_rate_hz * self.points_a_second))
        none = sound.new_zeros(len(sound), self.harmonics + self.bands, points)
        peak = sound.abs().amax(dim=1, keepdim=True)
        return _Start(**vars(originals), signal=none, rows=rows, peak=peak)

    def unit(self, start: _Start) -> Tensor:
        """Return 1 dB in natural units, the same for all items."""
        return start.signal.new_full((len(start.signal), 1, 1), NATURAL_PER_DB)

    def signal(self, start: _Start, parameters: Tensor) -> Tensor:
        """Return the gain at full size, clipped to the largest."""
        size = tuple(start.signal.shape[1:])
        return resize(parameters, size).clamp(-self._most, self._most)

    def waveform(self, recognizer: Recognizer, start: _Start, signal: Tensor) -> Tensor:
        """Return the original with its harmonics and bands at their gains."""
        sound = self._changed(start, signal)
        return sound * self._level(start, sound)

    def beside(
        self, recognizer: Recognizer, start: _Start, signal: Tensor, sound: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sound, and the level that keeps the peak."""
        level = self._level(start, self._changed(start, signal))
        return level * sound, level

    def absorb(self, start: _Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the gain, clipped to the largest."""
        return super().absorb(start, parameters, signal.clamp(-self._most, self._most))

    def _changed(self, start: _Start, signal: Tensor) -> Tensor:
        more = F.interpolate(
            signal.expm1(), size=start.rows.shape[2], mode="linear", align_corners=True
        )
        return start.waveform_for(self) + (more * start.rows).sum(dim=1)

    @staticmethod
    def _level(start: _Start, sound: Tensor) -> Tensor:
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
