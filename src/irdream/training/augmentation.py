"""Random views of training windows, made on the device, a batch at a time.

`SpectrogramAugmentation` acts on mel magnitudes: gains multiply, and what sounds together adds in
power; 15 ms for 128 windows on two cores, a tenth of a new analysis. `WaveformAugmentation` does
what a log-mel cannot show: mixtures whose phases meet, rooms (decaying noise after the direct
sound; Moorer 1979), changes of pitch and speed as of a tape. Both mask stripes at last
(SpecAugment; Park et al. 2019), by the window's mean: silence is a level that no band of music has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le, Len
from torch import Tensor

from irdream.arguments import Amount, Natural, Positive, checked, shown
from irdream.audio.stft import NATURAL_PER_DB
from irdream.errors import InputError

Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
Range = Annotated[Sequence[float], Len(2, 2)]
From0To1 = Annotated[float, Ge(0), Le(1)]
SILENCE = 1e-10  # power below which a waveform has no level


class Draw:
    """Random tensors for one batch, drawn on the CPU so that devices agree."""

    def __init__(self, windows: Tensor, generator: torch.Generator) -> None:
        self.batch, self.device, self.generator = len(windows), windows.device, generator

    def uniform(self, ends: Range = (0.0, 1.0)) -> Tensor:
        """Return a number from the range for each window, (batch,)."""
        values = torch.rand(self.batch, generator=self.generator) * (ends[1] - ends[0]) + ends[0]
        return values.to(self.device)

    def exponential(self, shape: Sequence[int]) -> Tensor:
        """Return (batch, *shape) of an exponential distribution of mean 1."""
        values = torch.empty(self.batch, *shape).exponential_(generator=self.generator)
        return values.to(self.device)

    def noise(self, length: int) -> Tensor:
        """Return (batch, length) of white noise, made on the device by a seed from the CPU."""
        seed = int(torch.randint(2**62, (), generator=self.generator))
        own = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(self.batch, length, generator=own, device=self.device)

    def equalizer(self, deviation_db: float, points: int) -> Tensor:
        """Return smooth random gains (batch, points): seven normal values, interpolated in dB."""
        knots = torch.randn(self.batch, 7, generator=self.generator).to(self.device) * deviation_db
        curve = F.interpolate(knots[:, None], size=points, mode="linear", align_corners=True)
        return amplitude(curve[:, 0])

    def partners(self, labels: Tensor, share: float, below_db: Range) -> tuple[Tensor, ...] | None:
        """Draw the window that is mixed into each one; None where a batch is not mixed.

        Returns:
            Which other window, (batch,); its amplitude, 0 where none is mixed in, (batch,); the
            labels of the mixtures, weighed by amplitude and summing to one.
        """
        if share == 0 or self.batch < 2:
            return None
        other = torch.randperm(self.batch, generator=self.generator).to(self.device)
        chosen = (self.uniform() < share).float()
        factor = chosen * amplitude(-self.uniform(below_db))
        mixed = labels + factor[:, None] * labels[other]
        return other, factor, mixed / mixed.sum(dim=1, keepdim=True)

    def stripe(self, length: int, share: float) -> Tensor:
        """Return (batch, length), true in a random stretch of at most `share` of the length."""
        widest = int(share * length)
        width = torch.floor(self.uniform() * (widest + 1)).clamp(max=widest)
        first = torch.floor(self.uniform() * (length - width + 1))
        place = torch.arange(length, device=self.device)
        return (place >= first[:, None]) & (place < (first + width)[:, None])


def amplitude(decibels: Tensor) -> Tensor:
    """Return the factor of a level change in dB."""
    return torch.exp(decibels * NATURAL_PER_DB)


@dataclass(frozen=True, kw_only=True)
class _Augmentation:
    """The settings that both have, and the masks."""

    gain_db: Range = (-12.0, 6.0)  # level change of each window
    equalizer_db: Amount = 4.0  # standard deviation of a smooth random curve over the bands
    noise_db: Range | None = (15.0, 60.0)  # below the window's mean magnitude; None: no noise
    mix_share: From0To1 = 0.3  # of windows that get another one of the batch mixed in
    mix_db: Range = (3.0, 20.0)  # how far below the first
    union: bool = False  # a mixture's labels are 1 for all that sounds; or shares by amplitude
    time_masks: Natural = 0  # stripes of its mean that each window gets
    time_mask_share: From0To1 = 0.2  # how wide at most, of all frames
    band_masks: Natural = 0  # likewise along the bands
    band_mask_share: From0To1 = 0.15

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, Sequence) and value[0] > value[1]:
                raise InputError(f"{name}={shown(value)}; expected [least, most], such as [0, 6]")

    def masked(self, log_mel: Tensor, draw: Draw) -> Tensor:
        """Return log-mels (batch, n_mels, frames) with stripes of their mean."""
        hidden = torch.zeros((), dtype=torch.bool, device=log_mel.device)
        for _ in range(self.band_masks):
            hidden = hidden | draw.stripe(log_mel.shape[1], self.band_mask_share)[:, :, None]
        for _ in range(self.time_masks):
            hidden = hidden | draw.stripe(log_mel.shape[2], self.time_mask_share)[:, None]
        if not hidden.ndim:
            return log_mel
        return torch.where(hidden, log_mel.mean(dim=(1, 2), keepdim=True), log_mel)


@checked
@dataclass(frozen=True, kw_only=True)
class SpectrogramAugmentation(_Augmentation):
    """log-mels (batch, n_mels, frames) and labels (batch, instruments) -> the same, changed."""

    floor: Positive = 1e-5  # of the front end, the magnitude added before its logarithm

    def __call__(
        self, log_mel: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return changed windows and the labels of what now sounds in them."""
        draw = Draw(log_mel, generator)
        magnitude = (log_mel.exp() - self.floor).clamp(min=0.0)
        if self.equalizer_db > 0:
            magnitude = magnitude * draw.equalizer(self.equalizer_db, log_mel.shape[1])[:, :, None]
        power, labels = magnitude.square(), _shares(labels)
        if drawn := draw.partners(labels, self.mix_share, self.mix_db):
            other, factor, labels = drawn
            level = power.mean(dim=(1, 2)).clamp(min=1e-20)
            power = power + (factor.square() * level / level[other])[:, None, None] * power[other]
        if self.noise_db is not None:
            power = power + self._noise(draw, power, self.noise_db)
        gain = amplitude(draw.uniform(self.gain_db))[:, None, None]
        log_mel = self.masked(torch.log(power.sqrt() * gain + self.floor), draw)
        return log_mel, (labels > 0).to(labels.dtype) if self.union else labels

    @staticmethod
    def _noise(draw: Draw, power: Tensor, noise_db: Range) -> Tensor:
        """Return the power of noise of a random slope, its magnitudes Rayleigh-distributed."""
        below = draw.uniform(noise_db)[:, None, None]
        slope = torch.linspace(-0.5, 0.5, power.shape[1], device=power.device)
        tilt = draw.uniform((-20.0, 20.0))[:, None] * slope
        level = power.mean(dim=(1, 2), keepdim=True) * amplitude(tilt[:, :, None] - below).square()
        return level * draw.exponential(power.shape[1:])


@checked
@dataclass(frozen=True, kw_only=True)
class WaveformAugmentation(_Augmentation):
    """waveforms (batch, samples) and labels (batch, instruments) -> the same, changed.

    Masks are made on the log-mels.
    """

    semitones: Range = (-1.0, 1.0)  # change of pitch and speed, as of a tape
    room_share: From0To1 = 0.3  # of windows that sound as in a room
    room_seconds: Annotated[Sequence[Positive], Len(2, 2)] = (0.1, 0.8)  # until 60 dB below
    room_db: Range = (3.0, 20.0)  # level of the room's sound below the direct sound
    mix_share: From0To1 = 0.5
    mix_db: Range = (0.0, 12.0)
    union: bool = True
    sample_rate_hz: int = 22_050

    def __call__(
        self, waveform: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return changed waveforms and the labels of what now sounds in them."""
        draw = Draw(waveform, generator)
        if any(self.semitones):
            waveform = self._faster(draw, waveform)
        waveform, labels = self._filtered(draw, waveform), _shares(labels)
        if drawn := draw.partners(labels, self.mix_share, self.mix_db):
            other, factor, labels = drawn
            power = _power(waveform)
            waveform = (
                waveform + (factor * (power / power[other]).sqrt())[:, None] * waveform[other]
            )
        if self.noise_db is not None:
            level = _power(waveform).sqrt() * amplitude(-draw.uniform(self.noise_db))
            waveform = waveform + level[:, None] * draw.noise(waveform.shape[1])
        waveform = waveform * amplitude(draw.uniform(self.gain_db))[:, None]
        return waveform, (labels > 0).to(labels.dtype) if self.union else labels

    def _faster(self, draw: Draw, waveform: Tensor) -> Tensor:
        """Return each played faster or slower about its middle, by cubic interpolation."""
        speed = torch.exp2(draw.uniform(self.semitones) / 12)[:, None]
        samples = waveform.shape[1]
        middle = (samples - 1) / 2
        at = (torch.arange(samples, device=waveform.device) - middle) * speed + middle
        at = at.clamp(1, samples - 3)
        whole = at.floor()
        t, first = at - whole, whole.long()
        a, b, c, d = (waveform.gather(1, first + k) for k in (-1, 0, 1, 2))
        return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))

    def _filtered(self, draw: Draw, waveform: Tensor) -> Tensor:
        """Return each through an equalizer and some in a room, in one product of spectra."""
        if not self.equalizer_db and not self.room_share:
            return waveform
        samples = waveform.shape[1]
        tail = max(1, round(self.room_seconds[1] * self.sample_rate_hz)) if self.room_share else 0
        size = _fast_size(samples + tail)
        spectrum = torch.fft.rfft(waveform, n=size)
        response = torch.ones_like(spectrum.real)
        if self.equalizer_db > 0:
            response = response * draw.equalizer(self.equalizer_db, spectrum.shape[1])
        if self.room_share > 0:
            response = response * torch.fft.rfft(self._room(draw, tail), n=size)
        return torch.fft.irfft(spectrum * response, n=size)[:, :samples]

    def _room(self, draw: Draw, tail: int) -> Tensor:
        """Return impulse responses (batch, tail): a unit impulse, and for some decaying noise."""
        seconds = torch.arange(tail, device=draw.device) / self.sample_rate_hz
        decay_db = -60.0 * seconds / draw.uniform(self.room_seconds)[:, None]
        noise = draw.noise(tail) * amplitude(decay_db)
        level = (draw.uniform() < self.room_share).float() * amplitude(-draw.uniform(self.room_db))
        room = noise * (level / noise.square().sum(dim=1).sqrt())[:, None]
        room[:, 0] = 1.0
        return room


def _shares(labels: Tensor) -> Tensor:
    """Return labels that sum to one at most."""
    return labels / labels.sum(dim=1, keepdim=True).clamp(min=1.0)


def _power(waveform: Tensor) -> Tensor:
    return waveform.square().mean(dim=1).clamp(min=SILENCE)


def _fast_size(least: int) -> int:
    """Return the least even 2^a 3^b 5^c that is no smaller."""
    sizes = (2 * 2**a * 3**b * 5**c for a in range(22) for b in range(4) for c in range(3))
    return min(size for size in sizes if size >= least)
