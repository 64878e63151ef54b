"""What one sound hides of another: the simultaneous masking threshold of MPEG-1's first model.

In the form of Qin et al. (ICML 2019, section 4 and appendix B): each audible local peak of a
frame's power spectrum is a tonal masker, unless a stronger one lies within half a Bark (Zwicker and
Terhardt 1980); it hides what lies below a line that falls away from it on both sides; powers of
these lines and of the threshold in quiet (Terhardt 1979) add up. Nothing is known of masking before
and after a sound, of noise-like maskers, or of two ears. The loudest bin of an item is 96 dB, or
whatever power the caller says. Source: ISO/IEC 11172-3:1993, annex D.1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.audio.stft import Grid, spectrum

LOUDEST_DB = 96.0  # of the reference power
APART_BARK = 0.5  # between maskers, at least
HEARD_HZ = (20.0, 20_000.0)  # where the formula of the threshold in quiet holds
FLATTEST_SLOPE = -3.0  # dB per Bark; reached only by what is far above the reference
LEAST_RATIO_DB = -100.0  # reported where nothing changed
_VALUES_AT_ONCE = 2**22  # of frames x bins; some ten tensors of that size are alive


class Violation(NamedTuple):
    """How far a change rises above the masking threshold of the original, for each item."""

    share: Tensor  # of the time-frequency bins, 0 to 1, (items,)
    excess_db: Tensor  # the mean over all bins of the dB above the threshold, 0 where below
    noise_to_mask_db: Tensor  # 10 log10 of the bins' mean of change over threshold, at least -100


def bark(hz: Tensor) -> Tensor:
    """Return the critical-band rate in Bark of frequencies in Hz (Zwicker and Terhardt 1980)."""
    return 13.0 * torch.atan(7.6e-4 * hz) + 3.5 * torch.atan((hz / 7500.0).square())


def quiet_threshold_db(hz: Tensor) -> Tensor:
    """Return the level in dB SPL from which a tone is heard in quiet (Terhardt 1979).

    Frequencies below 20 Hz and above 20 kHz, where the formula runs away, count as these.
    """
    khz = hz.clamp(*HEARD_HZ) / 1000.0
    dip = 6.5 * torch.exp(-0.6 * (khz - 3.3).square())
    return 3.64 * khz.pow(-0.8) - dip + 1e-3 * khz.pow(4)


def bins_hz(bins: int, sample_rate_hz: float, like: Tensor) -> Tensor:
    """Return the frequencies of the bins 0 to n_fft // 2, (bins,), n_fft being even."""
    return torch.linspace(0.0, sample_rate_hz / 2, bins, dtype=like.dtype, device=like.device)


def reference_power(power: Tensor, *, full_scale_db: float | None = None) -> Tensor:
    """Return the power that counts as 96 dB, (items, 1, 1); see `masking_threshold`."""
    full_scale = ((power.shape[1] - 1) / 2.0) ** 2  # of a sine of amplitude 1 in its bin
    if full_scale_db is not None:
        return power.new_full((len(power), 1, 1), full_scale * _ratio(LOUDEST_DB - full_scale_db))
    loudest = power.amax(dim=(1, 2), keepdim=True)
    return torch.where(loudest > 0, loudest, full_scale)


@torch.no_grad()
def masking_threshold_db(
    power: Tensor, *, sample_rate_hz: float, reference: Tensor | None = None
) -> Tensor:
    """Return the masking threshold of each bin in dB, (items, bins, frames).

    `power` is |STFT|^2 with a Hann taper, (items, bins, frames); `reference`, (items, 1, 1), counts
    as 96 dB, see `reference_power`.
    """
    items, bins, frames = power.shape
    reference = reference_power(power) if reference is None else reference
    audible = power / reference * _ratio(LOUDEST_DB)  # 1 is 0 dB
    columns = audible.transpose(1, 2).reshape(-1, bins)  # (items * frames, bins)
    spread = _Spread(bins_hz(bins, sample_rate_hz, power))
    at_once = max(1, _VALUES_AT_ONCE // bins)
    threshold = torch.cat([spread(some) for some in columns.split(at_once)])
    return 10.0 * threshold.log10().view(items, frames, bins).transpose(1, 2)


@torch.no_grad()
def masking_threshold(
    waveform: Tensor,
    *,
    n_fft: int,
    hop_samples: int,
    sample_rate_hz: float,
    full_scale_db: float | None = None,
) -> Tensor:
    """Return the masking threshold of a sound as a power, to be compared with |STFT|^2.

    Args:
        waveform: (items, samples).
        n_fft, hop_samples: of the transform, with a Hann taper; n_fft is even.
        full_scale_db: the level of a sine of amplitude 1, in dB SPL; None: each item's loudest
            bin is 96 dB, and in an item of digital silence a sine of amplitude 1 would be.

    Returns:
        (items, bins, 1 + whole hops), above 0 everywhere.

    Raises:
        InputError: when the sound is too short for one frame.
    """
    power = _power(waveform, n_fft, hop_samples)
    reference = reference_power(power, full_scale_db=full_scale_db)
    level_db = masking_threshold_db(power, sample_rate_hz=sample_rate_hz, reference=reference)
    threshold = torch.pow(10.0, (level_db - LOUDEST_DB) / 10.0) * reference
    return threshold.clamp(min=torch.finfo(threshold.dtype).tiny)


@torch.no_grad()
def masking_violation(
    original: Tensor,
    dream: Tensor,
    *,
    n_fft: int,
    hop_samples: int,
    sample_rate_hz: float,
) -> Violation:
    """Measure what of `dream - original`, (items, samples) each, is audible beside the original.

    See `masking_threshold` for the other arguments.
    """
    settings = {"n_fft": n_fft, "hop_samples": hop_samples}
    threshold = masking_threshold(original, **settings, sample_rate_hz=sample_rate_hz)
    ratio = _power(dream - original, **settings) / threshold
    mean = ratio.mean(dim=(1, 2)).clamp(min=_ratio(LEAST_RATIO_DB))
    return Violation(
        share=(ratio > 1.0).to(ratio.dtype).mean(dim=(1, 2)),
        excess_db=(10.0 * ratio.clamp(min=1.0).log10()).mean(dim=(1, 2)),
        noise_to_mask_db=10.0 * mean.log10(),
    )


class _Spread:
    """The threshold of frames whose bins lie at frequencies `hz`, (bins,)."""

    def __init__(self, hz: Tensor) -> None:
        z = bark(hz)
        away = z[None] - z[:, None]  # (masker, bin) in Bark
        self.near = away.abs() < APART_BARK
        self.below, self.above = away.clamp(max=0.0), away.clamp(min=0.0)
        self.offset_db = -6.025 - 0.275 * z
        self.quiet = torch.pow(10.0, quiet_threshold_db(hz) / 10.0)
        self.most_maskers = 1 + int(float(z[-1]) / APART_BARK)

    def __call__(self, power: Tensor) -> Tensor:
        """Return (frames, bins), 1 being 0 dB, of the power (frames, bins)."""
        threshold = self.quiet.expand_as(power).clone()
        left = self._maskers(power)
        for _ in range(self.most_maskers):
            strongest, place = left.max(dim=1, keepdim=True)
            if not bool(strongest.any()):
                break
            place = place[:, 0]
            level_db = 10.0 * strongest.log10()  # -inf in frames that have no masker left
            slope = (-27.0 + 0.37 * (level_db - 40.0).clamp(min=0.0)).clamp(max=FLATTEST_SLOPE)
            falls_db = 27.0 * self.below[place] + slope * self.above[place]
            hidden_db = level_db + self.offset_db[place][:, None] + falls_db
            threshold += torch.pow(10.0, hidden_db / 10.0)
            left = left.masked_fill(self.near[place], 0.0)
        return threshold

    def _maskers(self, power: Tensor) -> Tensor:
        """Return the power of the three bins around each audible peak, 0 elsewhere."""
        lower, middle, upper = power[:, :-2], power[:, 1:-1], power[:, 2:]
        peak = (middle > lower) & (middle >= upper)  # of a flat top the lowest bin
        together = lower + middle + upper
        audible = peak & (together > self.quiet[1:-1])
        return F.pad(together * audible, (1, 1))


def _power(waveform: Tensor, n_fft: int, hop_samples: int) -> Tensor:
    """Return |STFT|^2, (items, bins, 1 + whole hops)."""
    bins = spectrum(waveform, Grid(n_fft, hop_samples))
    return bins.real.square() + bins.imag.square()


def _ratio(level_db: float) -> float:
    return math.pow(10.0, level_db / 10.0)
