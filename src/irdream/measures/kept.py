"""What a dream keeps of its original: the onsets, the pitch, a steady gain.

Log-mels are (items, n_mels, frames), waveforms (items, samples), values (items,). What lies more
than 80 dB below the loudest place of a sound is not heard and does not count.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from irdream.audio.pitch import PERIODS, PITCH_HZ, pitch_hz
from irdream.measures.dreams import DB_PER_NATURAL, correlation

RANGE_DB = 80.0
LEAST_VOICED = 0.2  # of the frames; fewer are no pitch


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

    In cents, without sign; the pitch is that of `irdream.audio.pitch`. NaN where fewer than a fifth
    of the frames are voiced in both, or where the sounds are shorter than its frame. Of several
    notes at once it says little, since the pitch that is found leaps between them.

    Args:
        original: waveforms (items, samples).
        dream: the same shape.
        sample_rate_hz: of the sounds.
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
