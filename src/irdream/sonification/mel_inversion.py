"""From mel bands back to frequency bins, and a sound that has the original's phase.

The magnitudes s >= 0 of the frequency bins are found from the mel magnitudes m = B s by
multiplicative updates (Lee and Seung 2001) from the least-squares start. Many s have the same m;
the fine structure of the original is lost, and an undreamed excerpt, too, comes back changed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irdream.audio.stft import inverse_stft, stft

_AT_ONCE = 256  # frames, which stay in the processor's cache


class MelInversion:
    """Invert the mel bands and take the phase of the original (see the module).

    Args:
        iterations: of the mel inversion.
    """

    def __init__(self, *, iterations: int = 100) -> None:
        self.iterations = iterations

    @torch.no_grad()
    def __call__(
        self, *, dream: Tensor, original: Tensor, waveform: Tensor, frontend: Any
    ) -> Tensor:
        """Return the waveform (items, samples) of dreams (items, n_mels, frames)."""
        spectrum = stft(waveform, frontend)
        magnitude = magnitudes(dream, frontend, iterations=self.iterations)
        missing = spectrum.shape[-1] - magnitude.shape[-1]
        magnitude = torch.cat([magnitude, magnitude[..., -1:].expand(-1, -1, missing)], dim=-1)
        return inverse_stft(
            torch.polar(magnitude, spectrum.angle()), frontend, samples=waveform.shape[-1]
        )


def magnitudes(log_mel: Tensor, frontend: Any, *, iterations: int) -> Tensor:
    """Return the bins' magnitudes (items, bins, frames) of log-mels (items, n_mels, frames)."""
    floor = getattr(frontend, "floor", 0.0)
    mel = (log_mel.exp() - floor).clamp(min=0.0)
    return invert_mel(mel, frontend.mel_basis, iterations=iterations)


def invert_mel(mel: Tensor, mel_basis: Tensor, *, iterations: int) -> Tensor:
    """Return magnitudes (items, bins, frames) >= 0 whose mel bands are nearest to `mel`.

    Args:
        mel: magnitudes (items, n_mels, frames), not negative.
        mel_basis: (n_mels, bins).
        iterations: of the multiplicative updates.
    """
    tiny = 1e-10
    items, _, frames = mel.shape
    inverse = torch.linalg.pinv(mel_basis)
    # A bin is in two bands or so: dense products would take most of the time.
    to_bands, to_bins = mel_basis.to_sparse(), mel_basis.T.to_sparse()
    floor = (1e-4 * mel.mean(dim=(1, 2)) + tiny).repeat_interleave(frames)
    columns = mel.transpose(0, 1).flatten(1)  # (n_mels, items * frames)
    found = []
    for some, least in zip(columns.split(_AT_ONCE, dim=1), floor.split(_AT_ONCE), strict=True):
        bins, wanted = torch.maximum(inverse @ some, least), torch.sparse.mm(to_bins, some)
        for _ in range(iterations):
            has = torch.sparse.mm(to_bins, torch.sparse.mm(to_bands, bins))
            bins = bins.mul_(wanted).div_(has.add_(tiny))
        found.append(bins)
    return torch.cat(found, dim=1).unflatten(1, (items, frames)).transpose(0, 1)
