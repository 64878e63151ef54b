"""The dream as a gain on the original's short-time spectrum, with its phase.

The difference of the two log-mels is a gain for each mel band; each frequency bin gets the mean
of the gains of the bands that cover it, in dB, weighed as the bands weigh it. What the original
sounds like is kept, and only what changed is changed; what the original lacks cannot be made
louder than its noise floor. Overlapping frames share their gains through the inverse transform,
so the log-mel of the result is near the dream's, not equal to it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irdream.audio.stft import band_shares, inverse_stft, stft


class StftGain:
    """Multiply the original's spectrum by the dream's gain (see the module).

    Args:
        max_gain_db: the largest gain, up or down.
    """

    def __init__(self, *, max_gain_db: float = 60.0) -> None:
        self.max_gain_db = max_gain_db

    @torch.no_grad()
    def __call__(
        self, *, dream: Tensor, original: Tensor, waveform: Tensor, frontend: Any
    ) -> Tensor:
        """Return the waveform (items, samples) of dreams (items, n_mels, frames)."""
        spectrum = stft(waveform, frontend)
        most = self.max_gain_db * torch.log(torch.tensor(10.0)).item() / 20.0
        gain = (dream - original).clamp(-most, most)
        gain = torch.matmul(band_shares(frontend.mel_basis), gain)  # (items, bins, frames)
        missing = spectrum.shape[-1] - gain.shape[-1]
        gain = torch.cat([gain, gain[..., -1:].expand(-1, -1, missing)], dim=-1)
        return inverse_stft(spectrum * gain.exp(), frontend, samples=waveform.shape[-1])
