"""Measures of how far a dream is from its original, on the spectrogram, and of what it keeps.

They take log-mels (items, n_mels, frames), but for that of pitch, and return one value an item.
Those of the sound are in `irdream.measures.sounds`. What lies more than 80 dB below the loudest
place of a sound is not heard, and does not count for what is kept: onsets, pitch, a steady gain.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from irdream.audio.pitch import PERIODS, PITCH_HZ, pitch_hz

DB_PER_NATURAL = 20.0 / math.log(10.0)
RANGE_DB = 80.0
LEAST_VOICED = 0.2  # of the frames; fewer are no pitch


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
