"""The short-time Fourier transform that belongs to a front end, and its inverse."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def stft(waveform: Tensor, frontend: Any) -> Tensor:
    """Return the complex spectrum (items, bins, 1 + samples // hop) of (items, samples)."""
    return torch.stft(
        waveform,
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
