"""The change stays below what the original masks, so that by the model it cannot be heard.

See `irdream.audio.masking`. On a spectrogram the magnitude of the change is that of the original
times abs(e^c - 1), c being what was added in natural log. A gain on bins is held to the bins'
threshold; a mel band to the sum of its bins' thresholds (as magnitudes), weighed as the front end
does: a band may hide a change in one of its bins. On a sound the spectrum of the change is cut to
the threshold and inverted, some times in turn, a projection onto two convex sets; what is then left
above is removed by scaling the change of that item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from irdream.arguments import Natural, checked
from irdream.audio.masking import masking_threshold
from irdream.audio.stft import as_many_frames, inverse_stft, stft
from irdream.dreaming.batch import LEAST_MAGNITUDE, Kind, Start
from irdream.dreaming.constraints.base import Constraint
from irdream.dreaming.constraints.limits import limited
from irdream.dreaming.constraints.masks import mel_basis
from irdream.recognizer import Recognizer

INSIDE = 1.0 - 1e-5  # of the threshold, 0.0001 dB, so that no rounding lifts a bin above it
MOST_CHANGE = 100.0  # natural log: e^-100 is silence, e^100 more than any sound


@checked
@dataclass(kw_only=True)
class MaskingProjection(Constraint):
    """See the module.

    On a spectrogram it costs next to nothing; on a sound three rounds, with their gradient, take
    about 25 ms for 3 s on one core. Steps are small, so few rounds do; more of them keep more of a
    large change.
    """

    margin_db: float = 0.0  # how far below the threshold the change stays; negative: above
    rounds: Natural = 3  # of cutting and inverting, for a sound
    full_scale_db: float | None = None  # dB SPL of a sine of amplitude 1; None: loudest bin is 96
    acts_on = ("spectrogram", "sound")

    def prepare(self, recognizer: Recognizer, start: Start, kind: Kind) -> dict[str, Any]:
        """Return the largest magnitude of a change in each bin, or the limits of a spectrogram."""
        frontend: Any = recognizer.stft_grid
        threshold = masking_threshold(
            start.waveform_for(self),
            n_fft=frontend.n_fft,
            hop_samples=frontend.hop_samples,
            sample_rate_hz=frontend.sample_rate_hz,
            full_scale_db=self.full_scale_db,
        )
        share = INSIDE * 10.0 ** (-self.margin_db / 20.0)
        magnitude = (share * threshold.sqrt()).clamp(min=LEAST_MAGNITUDE)
        if kind == "sound":
            return {"most": magnitude, "frontend": frontend}
        if start.spectrum is None:
            magnitude = torch.matmul(mel_basis(recognizer).to(magnitude.dtype), magnitude)
        share = as_many_frames(magnitude, start.signal.shape[-1]) / start.level.exp()
        down = torch.log1p(-share.clamp(max=1.0)).clamp(min=-MOST_CHANGE)
        up = torch.log1p(share).clamp(max=MOST_CHANGE)
        return {"down": start.signal + down, "up": start.signal + up}

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        if signal.ndim == 3:
            return limited(signal, prepared["down"], prepared["up"])
        most, frontend = prepared["most"], prepared["frontend"]
        for _ in range(self.rounds):
            spectrum = stft(signal - original, frontend)
            above = 1.0 - most / torch.maximum(spectrum.abs(), most)
            signal = signal - inverse_stft(spectrum * above, frontend, samples=signal.shape[-1])
        magnitude = stft(signal - original, frontend).abs()
        largest = (magnitude / most).amax(dim=(1, 2)).clamp(min=1.0)
        return original.lerp(signal, largest.reciprocal()[:, None])
