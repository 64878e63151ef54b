"""Measures of how far a dream is from its original, on the spectrogram.

All take log-mels (items, n_mels, frames), return one value an item, and are definitions, not
models. Those of the sound are in `irdream.measures.sounds`.
"""

from __future__ import annotations

import math

from torch import Tensor

DB_PER_NATURAL = 20.0 / math.log(10.0)


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

    Args:
        wanted: (items, ...).
        real: the same shape.
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
    (anisotropic total variation after Rudin, Osher and Fatemi 1992, as a mean).

    Args:
        log_mel: (items, n_mels, frames), at least 2 x 2; else NaN.
    """
    along_bands = log_mel.diff(dim=1).abs().mean(dim=(1, 2))
    along_frames = log_mel.diff(dim=2).abs().mean(dim=(1, 2))
    return (along_bands + along_frames) / 2 * DB_PER_NATURAL
