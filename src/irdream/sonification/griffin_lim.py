"""A waveform for a log-mel alone: non-negative mel inversion, then Griffin-Lim.

The magnitudes of the frequency bins come from `mel_inversion`, the phase from the fast Griffin-Lim
algorithm (Perraudin, Balazs and Sondergaard 2013) of torchaudio, from zero phase.
An undreamed excerpt, too, comes back changed by a decibel or two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irdream.audio.stft import whole_hops
from irdream.sonification.mel_inversion import magnitudes


class GriffinLim:
    """Invert the mel bands and find a phase (see the module).

    Args:
        iterations: of Griffin-Lim.
        mel_iterations: of the mel inversion.
        momentum: of fast Griffin-Lim; 0 is the original algorithm.
    """

    def __init__(
        self, *, iterations: int = 64, mel_iterations: int = 100, momentum: float = 0.99
    ) -> None:
        self.iterations, self.mel_iterations, self.momentum = iterations, mel_iterations, momentum

    @torch.no_grad()
    def __call__(
        self, *, dream: Tensor, original: Tensor, waveform: Tensor, frontend: Any
    ) -> Tensor:
        """Return the waveform (items, samples) of dreams (items, n_mels, frames)."""
        from torchaudio.functional import griffinlim

        magnitude = magnitudes(dream, frontend, iterations=self.mel_iterations)
        samples = waveform.shape[-1]
        hops = whole_hops(samples, frontend)
        missing = 1 + hops - magnitude.shape[-1]
        last = magnitude[..., -1:].expand(-1, -1, missing)
        sound = griffinlim(
            torch.cat([magnitude, last], dim=-1),
            window=torch.hann_window(frontend.n_fft, device=dream.device),
            n_fft=frontend.n_fft,
            hop_length=frontend.hop_samples,
            win_length=frontend.n_fft,
            power=1.0,
            n_iter=self.iterations,
            momentum=self.momentum,
            length=hops * frontend.hop_samples,
            rand_init=False,
        )
        return sound[..., :samples]
