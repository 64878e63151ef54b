"""Measures of how far a dream is from its original, of what it keeps, and of the sound it is.

Those of the spectrogram take log-mels (items, n_mels, frames), those of the sound waveforms (items,
samples), and compute these in float64; all return one value an item, (items,). Spectra are on the
grid of `irdream.audio.stft`. What lies more than 80 dB below the loudest place of a sound is not
heard, and does not count for what is kept: onsets, pitch, a steady gain.

Sources of the sound's: Quackenbush et al. 1988, Hansen and Pellom, ICSLP 1998 (segmental SNR);
Carlini and Wagner 2018 (dB_x); Gray and Markel, IEEE ASSP-24, 1976 (log-spectral distance),
ASSP-22, 1974 (flatness); Boersma, IFA Proceedings 17, 1993 (voicing).
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.audio.pitch import PERIODS, PITCH_HZ, pitch_hz
from irdream.audio.stft import DB_PER_NATURAL, Grid, spectrum

RANGE_DB = 80.0
LEAST_VOICED = 0.2  # of the frames; fewer are no pitch
SEGMENT_LIMITS_DB = (-10.0, 35.0)  # of one frame, Hansen and Pellom 1998
VOICED_HZ, VOICED_HOP_SECONDS = (75.0, 600.0), 0.01  # where voiced frames are looked for
LOUDNESS_BLOCK_SECONDS, LOUDNESS_LEAST_HZ = 0.4, 8000


def difference_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return the difference of two log-mels (items, n_mels, frames) in dB of magnitude."""
    return (dream - original) * DB_PER_NATURAL


def rmse_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return the root mean square of the difference of two log-mels, in dB, (items,)."""
    return mse_db2(original, dream).sqrt()


def max_abs_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return the largest difference of two log-mels, in dB, (items,)."""
    return difference_db(original, dream).abs().amax(dim=(1, 2))


def mse_db2(original: Tensor, dream: Tensor) -> Tensor:
    """Return the mean squared difference of two log-mels, in dB^2, (items,)."""
    return difference_db(original, dream).square().mean(dim=(1, 2))


def correlation(wanted: Tensor, real: Tensor) -> Tensor:
    """Return Pearson's correlation over all values of each item, -1 to 1, (items,).

    Between the change that a dream wanted, `dream - original`, and the one that its sound brought,
    `log-mel of the WAV - original`, it says how much of the dream was realized, whatever its
    size. NaN where one of the two is constant.
    """
    centered = []
    for values in (wanted.flatten(start_dim=1).double(), real.flatten(start_dim=1).double()):
        is_constant = values.amax(dim=1, keepdim=True) == values.amin(dim=1, keepdim=True)
        deviations = values - values.mean(dim=1, keepdim=True)
        centered.append(deviations.masked_fill(is_constant, 0.0))  # rounding leaves a rest
    norms = [values.norm(dim=1) for values in centered]
    cosine = (centered[0] * centered[1]).sum(dim=1) / (norms[0] * norms[1])
    return cosine.clamp(-1.0, 1.0).to(wanted.dtype)


def total_variation_db(log_mel: Tensor) -> Tensor:
    """Return how rough a log-mel is: the mean step from bin to bin in dB, (items,).

    The mean absolute difference of neighboring bands and that of neighboring frames count alike
    (anisotropic total variation after Rudin, Osher and Fatemi 1992, as a mean). NaN for fewer than
    2 x 2.
    """
    along_bands = log_mel.diff(dim=1).abs().mean(dim=(1, 2))
    along_frames = log_mel.diff(dim=2).abs().mean(dim=(1, 2))
    return (along_bands + along_frames) / 2 * DB_PER_NATURAL


def onset_strength_db(log_mel: Tensor) -> Tensor:
    """Return how much louder each frame is than the one before, (items, frames - 1).

    The rise of each band in dB, 0 where it falls, as a mean over the bands (Boeck and Widmer, DAFx
    2013, without their maximum filter): librosa's onset_strength.
    """
    return _audible_db(log_mel).diff(dim=2).clamp(min=0.0).mean(dim=1)


def onset_correlation(original: Tensor, dream: Tensor) -> Tensor:
    """Return the correlation of the onset strengths of two log-mels, -1 to 1, (items,).

    NaN where a sound has no onsets, as silence.
    """
    return correlation(onset_strength_db(original), onset_strength_db(dream))


def pitch_error_cents(original: Tensor, dream: Tensor, *, sample_rate_hz: float) -> Tensor:
    """Return the median difference of pitch over the frames in which both are voiced, (items,).

    Of waveforms (items, samples), in cents, without sign, by `irdream.audio.pitch`. NaN where fewer
    than a fifth of the frames are voiced in both, or where the sounds are shorter than its frame.
    Of several notes at once it says little, since the pitch that is found leaps between them.
    """
    if original.shape[1] < math.ceil(PERIODS / PITCH_HZ[0] * sample_rate_hz) + 1:
        return original.new_full((len(original),), math.nan)
    before, after = (pitch_hz(x, sample_rate_hz=sample_rate_hz) for x in (original, dream))
    cents = 1200.0 * (after / before).log2().abs()
    enough = (~cents.isnan()).double().mean(dim=1) >= LEAST_VOICED
    return torch.where(enough, cents.nanmedian(dim=1).values, math.nan)


def warble_db(original: Tensor, dream: Tensor, *, frames_a_second: float) -> Tensor:
    """Return how much the dream's gain goes up and down, in dB a second, (items,).

    The total variation over time of the difference of two log-mels, its mean over the bands; 0 for
    a gain that does not change.
    """
    gain = _audible_db(dream) - _audible_db(original)
    return gain.diff(dim=2).abs().mean(dim=(1, 2)) * frames_a_second


def _audible_db(log_mel: Tensor) -> Tensor:
    """Return a log-mel in dB, no less than so far below its largest value."""
    db = log_mel * DB_PER_NATURAL
    return torch.maximum(db, db.amax(dim=(1, 2), keepdim=True) - RANGE_DB)


# Of the sound


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
