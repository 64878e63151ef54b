"""The short-time Fourier transform that belongs to a front end, its inverse, and mel to bins.

The sound is continued with zeros to a whole number of hops. Otherwise its last samples would
lie under the foot of one taper alone, and the inverse, which divides by the tapers, would blow
up whatever is no longer tapered there: clicks of a hundred times full scale. The frames that
the front end gives are not touched by that.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def whole_hops(samples: int, frontend: Any) -> int:
    """Return the least number of hops that are at least `samples` long."""
    return -(-samples // frontend.hop_samples)


def stft(waveform: Tensor, frontend: Any) -> Tensor:
    """Return the complex spectrum (items, bins, 1 + whole hops) of (items, samples)."""
    samples = waveform.shape[-1]
    whole = whole_hops(samples, frontend) * frontend.hop_samples
    return torch.stft(
        F.pad(waveform, (0, whole - samples)),
        frontend.n_fft,
        frontend.hop_samples,
        window=_taper(waveform, frontend),
        center=True,
        return_complex=True,
    )


def inverse_stft(spectrum: Tensor, frontend: Any, *, samples: int) -> Tensor:
    """Return the waveform (items, samples) whose spectrum is nearest (Griffin and Lim 1984)."""
    return torch.istft(
        spectrum,
        frontend.n_fft,
        frontend.hop_samples,
        window=_taper(spectrum, frontend),
        center=True,
        length=samples,
    )


def _taper(like: Tensor, frontend: Any) -> Tensor:
    dtype = like.real.dtype if like.is_complex() else like.dtype
    return torch.hann_window(frontend.n_fft, device=like.device, dtype=dtype)


def band_shares(mel_basis: Tensor) -> Tensor:
    """Return for each bin the shares of the bands that cover it, (bins, n_mels), rows sum to one.

    Bins outside all bands take the nearest covered bin's.
    """
    weights = mel_basis.T  # (bins, n_mels)
    covered = torch.nonzero(weights.sum(dim=1) > 0)[:, 0]
    bins = torch.arange(len(weights), device=weights.device)
    nearest = covered[(bins[:, None] - covered[None]).abs().argmin(dim=1)]
    shares = weights[nearest]
    return shares / shares.sum(dim=1, keepdim=True)
