"""Measures of how far a dream is from its original.

All take and return one value an item, and are definitions, not models: how loud the change is,
on the spectrogram in dB and in the sound as a signal-to-noise ratio.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DB_PER_NATURAL = 20.0 / math.log(10.0)


def difference_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return the difference of two log-mels (items, n_mels, frames) in dB of magnitude."""
    return (dream - original) * DB_PER_NATURAL


def rmse_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return the root mean square of the difference of two log-mels, in dB, (items,)."""
    return difference_db(original, dream).square().mean(dim=(1, 2)).sqrt()


def max_abs_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return the largest difference of two log-mels, in dB, (items,)."""
    return difference_db(original, dream).abs().amax(dim=(1, 2))


def snr_db(original: Tensor, dream: Tensor) -> Tensor:
    """Return 10 log10(sum x^2 / sum (y - x)^2) of waveforms (items, samples), in dB, (items,).

    Infinite where nothing changed; NaN where both are silent.
    """
    signal = original.double().square().sum(dim=1)
    noise = (dream.double() - original.double()).square().sum(dim=1)
    return (10.0 * torch.log10(signal / noise)).to(original.dtype)
