"""Measures of a dream as a sound: how far it is from its original, and what kind of sound it is.

All take waveforms (items, samples), compute in float64, and return (items,) in the waveforms'
dtype. Spectra are on the grid of `irdream.audio.stft`. Sources: Quackenbush et al. 1988, Hansen
and Pellom, ICSLP 1998 (segmental SNR); Carlini and Wagner 2018 (dB_x); Gray and Markel, IEEE
ASSP-24, 1976 (log-spectral distance), ASSP-22, 1974 (flatness); Boersma, IFA Proceedings 17, 1993
(voicing).
"""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.audio.pitch import is_voiced
from irdream.audio.stft import stft, whole_hops
from irdream.errors import InputError

SEGMENT_LIMITS_DB = (-10.0, 35.0)  # of one frame, Hansen and Pellom 1998
VOICED_HZ, VOICED_HOP_SECONDS = (75.0, 600.0), 0.01  # where voiced frames are looked for
LOUDNESS_BLOCK_SECONDS, LOUDNESS_LEAST_HZ = 0.4, 8000


def snr_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return 10 log10(sum x^2 / sum (y - x)^2) of waveforms (items, samples), in dB, (items,).

    Infinite where nothing changed; NaN where both are silent.
    """
    signal = original.double().square().sum(dim=1)
    noise = (dream.double() - original.double()).square().sum(dim=1)
    return (10.0 * torch.log10(signal / noise)).to(original.dtype)


def segmental_snr_db(
    original: Tensor, dream: Tensor, *, frame_samples: int, hop_samples: int
) -> Tensor:
    """Return the mean over frames of the SNR of each, held in [-10, 35] dB.

    A frame in which nothing changed counts as 35 dB, also one of digital silence; a frame of
    digital silence in which something sounds now counts as -10 dB. Zeros fill the last frame.

    Args:
        original: (items, samples).
        dream: the same shape.
        frame_samples: length of a frame.
        hop_samples: from frame to frame.
    """
    before = _frames(original.double(), frame_samples, hop_samples)
    change = _frames(dream.double(), frame_samples, hop_samples) - before
    signal, noise = before.square().sum(dim=2), change.square().sum(dim=2)
    ratio = torch.where(noise > 0, signal / noise, math.inf)
    held_db = (10.0 * ratio.log10()).clamp(*SEGMENT_LIMITS_DB)
    return held_db.mean(dim=1).to(original.dtype)


def loudness_lufs(waveform: Tensor, *, sample_rate_hz: int) -> Tensor:
    """Return the integrated loudness of waveforms (items, samples), in LUFS, (items,).

    ITU-R BS.1770-4, by the package pyloudnorm. Minus infinity for what is silent or below its gate.
    It has no value (NaN) for less than a block of 0.4 s, nor at rates that do not hold its filter.
    """
    from pyloudnorm import Meter

    items, samples = waveform.shape
    if samples < LOUDNESS_BLOCK_SECONDS * sample_rate_hz or sample_rate_hz < LOUDNESS_LEAST_HZ:
        return waveform.new_full((items,), math.nan)
    with np.errstate(divide="ignore"), warnings.catch_warnings():  # of silence
        warnings.simplefilter("ignore", RuntimeWarning)
        meter = Meter(sample_rate_hz, block_size=LOUDNESS_BLOCK_SECONDS)
        values = [meter.integrated_loudness(one) for one in waveform.double().cpu().numpy()]
    return waveform.new_tensor(values)


def db_x(original: Tensor, dream: Tensor) -> Tensor:
    """Return 20 log10(max |y - x| / max |x|) (Carlini and Wagner 2018), in dB, (items,).

    Minus infinity where nothing changed; NaN where both are silent.
    """
    largest = (dream.double() - original.double()).abs().amax(dim=1)
    return (20.0 * torch.log10(largest / original.double().abs().amax(dim=1))).to(original.dtype)


def log_spectral_distance_db(
    original: Tensor, dream: Tensor, *, n_fft: int, hop_samples: int, floor: float = 1e-5
) -> Tensor:
    """Return the mean over frames of the root mean square over bins of 20 log10(|X| / |Y|).

    `floor` is added to both magnitudes. Without it a bin that is empty in one sound alone, as all
    are in digital silence, would make the distance infinite. 1e-5 is that of the log-mel front
    end; a sine of amplitude 1 has n_fft / 4, and 16-bit rounding noise about 2e-4 for 1024.

    Args:
        original: (items, samples).
        dream: the same shape.
        n_fft: length of the Hann taper and of the transform, even.
        hop_samples: from frame to frame.
        floor: see above.

    Raises:
        InputError: when the sounds are too short for one frame.
    """
    logs = [
        torch.log10(_spectrum(waveform, n_fft, hop_samples).abs() + floor)
        for waveform in (original, dream)
    ]
    distance = (logs[0] - logs[1]).square().mean(dim=1).sqrt()  # (items, frames)
    return 20.0 * distance.mean(dim=1).to(original.dtype)


def spectral_flatness(waveform: Tensor, *, n_fft: int, hop_samples: int) -> Tensor:
    """Return the geometric over the arithmetic mean of each frame's power spectrum, averaged.

    0 for a pure tone, 1 for a click; 0.56, which is exp(-Euler's constant), for white noise, as
    its spectrum is flat only on average. Frames of digital silence have no spectrum and are left
    out; where there is no other, it is NaN.

    Args:
        waveform: (items, samples).
        n_fft: length of the Hann taper and of the transform, even.
        hop_samples: from frame to frame.

    Raises:
        InputError: when the sounds are too short for one frame.
    """
    spectrum = _spectrum(waveform, n_fft, hop_samples)
    power = spectrum.real.square() + spectrum.imag.square()
    flatness = power.log().mean(dim=1).exp() / power.mean(dim=1)  # 0 / 0 in silence
    return flatness.nanmean(dim=1).to(waveform.dtype)


def voiced_share(waveform: Tensor, *, sample_rate_hz: float) -> Tensor:
    """Return the share of frames that are periodic with 75 to 600 Hz, 0 to 1; see `audio.pitch`.

    A frame each 10 ms. Without its costs of changes and octaves, Praat finds the same shares within
    0.03 of tones, white noise, their mixtures, and recordings of instruments.

    Args:
        waveform: (items, samples).
        sample_rate_hz: of the sounds.

    Raises:
        InputError: when the sounds are shorter than a frame.
    """
    settings = {"range_hz": VOICED_HZ, "hop_seconds": VOICED_HOP_SECONDS}
    voiced = is_voiced(waveform, sample_rate_hz=sample_rate_hz, **settings)
    return torch.stack([one.double().mean() for one in voiced]).to(waveform.dtype)


def _frames(waveform: Tensor, frame_samples: int, hop_samples: int) -> Tensor:
    """Return (items, frames, frame_samples), which together hold every sample."""
    beyond = max(waveform.shape[1] - frame_samples, 0)
    whole = frame_samples + -(-beyond // hop_samples) * hop_samples
    padded = F.pad(waveform, (0, whole - waveform.shape[1]))
    return padded.unfold(1, frame_samples, hop_samples)


def _spectrum(waveform: Tensor, n_fft: int, hop_samples: int) -> Tensor:
    """Return the complex spectrum (items, bins, 1 + whole hops) in complex128."""
    grid = SimpleNamespace(n_fft=n_fft, hop_samples=hop_samples)
    samples = waveform.shape[1]
    if whole_hops(samples, grid) * hop_samples <= n_fft // 2:
        raise InputError(
            f"a waveform of {samples} samples is too short; expected more than {n_fft // 2}"
        )
    return stft(waveform.double(), grid)
