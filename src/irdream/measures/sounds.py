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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.audio.pitch import pitch_hz
from irdream.audio.stft import Grid, spectrum

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
    end; a sine of amplitude 1 has n_fft / 4, and 16-bit rounding noise about 2e-4 for 1024. Raises
    InputError when the sounds are too short for one frame.
    """
    grid = Grid(n_fft, hop_samples)
    logs = [torch.log10(spectrum(x.double(), grid).abs() + floor) for x in (original, dream)]
    distance = (logs[0] - logs[1]).square().mean(dim=1).sqrt()  # (items, frames)
    return 20.0 * distance.mean(dim=1).to(original.dtype)


def spectral_flatness(waveform: Tensor, *, n_fft: int, hop_samples: int) -> Tensor:
    """Return the geometric over the arithmetic mean of each frame's power spectrum, averaged.

    0 for a pure tone, 1 for a click; 0.56, which is exp(-Euler's constant), for white noise, as
    its spectrum is flat only on average. Frames of digital silence have no spectrum and are left
    out; where there is no other, it is NaN. Raises InputError when the sounds are too short for
    one frame.
    """
    bins = spectrum(waveform.double(), Grid(n_fft, hop_samples))
    power = bins.real.square() + bins.imag.square()
    flatness = power.log().mean(dim=1).exp() / power.mean(dim=1)  # 0 / 0 in silence
    return flatness.nanmean(dim=1).to(waveform.dtype)


def voiced_share(waveform: Tensor, *, sample_rate_hz: float) -> Tensor:
    """Return the share of frames that are periodic with 75 to 600 Hz, 0 to 1; see `audio.pitch`.

    A frame each 10 ms. Without its costs of changes and octaves, Praat finds the same shares within
    0.03 of tones, white noise, their mixtures, and recordings of instruments. Raises InputError
    when the sounds are shorter than a frame.
    """
    pitch = pitch_hz(
        waveform, sample_rate_hz=sample_rate_hz, range_hz=VOICED_HZ, hop_seconds=VOICED_HOP_SECONDS
    )
    return pitch.isfinite().to(waveform.dtype).mean(dim=1)


def _frames(waveform: Tensor, frame_samples: int, hop_samples: int) -> Tensor:
    """Return (items, frames, frame_samples), which together hold every sample."""
    beyond = max(waveform.shape[1] - frame_samples, 0)
    whole = frame_samples + -(-beyond // hop_samples) * hop_samples
    padded = F.pad(waveform, (0, whole - waveform.shape[1]))
    return padded.unfold(1, frame_samples, hop_samples)
