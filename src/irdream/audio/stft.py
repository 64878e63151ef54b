"""The short-time Fourier transform that belongs to a front end, its inverse; mel to bins; cepstra.

The sound is continued with zeros to a whole number of hops. Otherwise its last samples would
lie under the foot of one taper alone, and the inverse, which divides by the tapers, would blow
up whatever is no longer tapered there: clicks of a hundred times full scale. The frames that
the front end gives are not touched by that.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.errors import InputError

DB_PER_NATURAL = 20.0 / math.log(10.0)  # of the natural logarithm of a magnitude
NATURAL_PER_DB = math.log(10.0) / 20.0


class Grid(NamedTuple):
    """A transform with Hann's taper, where there is no front end that says one; n_fft is even."""

    n_fft: int
    hop_samples: int


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
        window=taper_of(frontend, waveform),
        center=True,
        return_complex=True,
    )


def spectrum(waveform: Tensor, grid: Grid) -> Tensor:
    """Return `stft`; raise InputError when the sound is too short for one frame."""
    samples, least = waveform.shape[-1], grid.n_fft // 2
    if whole_hops(samples, grid) * grid.hop_samples <= least:
        raise InputError(
            f"a waveform of {samples} samples is too short; expected more than {least}"
        )
    return stft(waveform, grid)


def inverse_stft(spectrum: Tensor, frontend: Any, *, samples: int) -> Tensor:
    """Return the waveform (items, samples) whose spectrum is nearest (Griffin and Lim 1984).

    It is torch.istft, less a check of the tapers that lets the host wait for the device.
    """
    n_fft, hop_samples, frames = frontend.n_fft, frontend.hop_samples, spectrum.shape[-1]
    taper = taper_of(frontend, spectrum.real)
    pieces = torch.fft.irfft(spectrum.mT, n=n_fft) * taper  # (items, frames, n_fft)
    total = n_fft + hop_samples * (frames - 1)
    sound, weight = (
        torch.ops.aten.unfold_backward(each, [len(each), total], 1, n_fft, hop_samples)
        for each in (pieces, taper.square().expand(1, frames, n_fft))
    )  # overlapped and added
    inside = slice(n_fft // 2, n_fft // 2 + samples)  # frames are centered
    return sound[:, inside] / weight[:, inside]


def with_mel_gain(waveform: Tensor, gain: Tensor, frontend: Any) -> Tensor:
    """Return a sound (items, samples) with a gain on its spectrum, with its phase.

    Of the gain, (items, n_mels, frames) in natural log, each bin gets the mean of its bands'. The
    front end has `n_fft`, `hop_samples` and `mel_basis`.
    """
    return _times(waveform, gain, torch.exp, frontend)


def with_mel_mask(waveform: Tensor, mask: Tensor, frontend: Any) -> Tensor:
    """Return what a mask, 0 to 1, lets through of a sound; see `with_mel_gain`.

    The sounds of a mask and of 1 - mask add up to the sound.
    """
    return _times(waveform, mask, lambda shares: shares, frontend)


def _times(waveform: Tensor, values: Tensor, factor: Any, frontend: Any) -> Tensor:
    bins = stft(waveform, frontend)
    values = as_many_frames(band_shares(frontend.mel_basis) @ values, bins.shape[-1])
    return inverse_stft(bins * factor(values), frontend, samples=waveform.shape[-1])


def as_many_frames(values: Tensor, frames: int) -> Tensor:
    """Cut the last frames of (items, rows, frames) away, or repeat the last one."""
    missing = max(0, frames - values.shape[-1])
    return torch.cat([values[..., :frames], values[..., -1:].expand(-1, -1, missing)], dim=-1)


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


def dct_basis(bands: int, coefficients: int) -> Tensor:
    """Return the first rows of the orthonormal DCT-II, (coefficients, bands), in float64."""
    places = torch.arange(bands, dtype=torch.float64) + 0.5
    orders = torch.arange(coefficients, dtype=torch.float64)[:, None]
    basis = math.sqrt(2 / bands) * torch.cos(math.pi / bands * orders * places)
    basis[0] /= math.sqrt(2)
    return basis


def taper_of(frontend: Any, like: Tensor) -> Tensor:
    """Return the front end's taper, (n_fft,); Hann's where it has none."""
    if isinstance(taper := getattr(frontend, "taper", None), Tensor):
        return taper.to(like)
    return torch.hann_window(frontend.n_fft, device=like.device, dtype=like.dtype)
