"""How much of a dream's change could be heard beside the original (see `audio.masking`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from irdream.audio.masking import masking_threshold
from irdream.audio.stft import stft
from irdream.dreaming.batch import Originals
from irdream.dreaming.objectives.base import ForwardOutput, Objective, ReadLayers

LEAST_POWER = 1e-30  # so that nothing is divided by 0


class MaskingPenalty(Objective):
    """How far the change lies above the masking threshold, in dB, the mean over all bins.

    Never negative: it is to be subtracted, `log_probability - 0.1 * masking_penalty`. Bins
    below the threshold count as 0, so that only what is audible is pushed down, as in Qin et
    al. (2019), section 4; in dB, since of powers the loudest bin alone would rule the gradient.
    Where the parametrization makes sound, the bins are those of its spectrum; otherwise mel
    bands, whose threshold is the sum of their bins' (as magnitudes), weighed as the front end
    weighs the bins.

    Args:
        margin_db: how far below the threshold the change should stay.
        full_scale_db: the level in dB SPL at which a sine of amplitude 1 is played; None: the
            loudest bin of each item is 96 dB.
    """

    def __init__(self, *, margin_db: float = 0.0, full_scale_db: float | None = None) -> None:
        self.margin_db, self.full_scale_db = margin_db, full_scale_db
        self._key = f"masking_penalty({margin_db},{full_scale_db})"
        self._frontend: Any = None  # of the run; its transform is needed in each step

    def __repr__(self) -> str:
        return "masking_penalty"

    def prepare(
        self, recognizer: Any, read_layers: ReadLayers, originals: Originals
    ) -> dict[str, Tensor]:
        """Return the powers from which a change is heard, of bins and of mel bands."""
        frontend = self._frontend = recognizer.frontend
        bins = masking_threshold(
            originals.waveform_for(self),
            n_fft=frontend.n_fft,
            hop_samples=frontend.hop_samples,
            sample_rate_hz=frontend.sample_rate_hz,
            full_scale_db=self.full_scale_db,
        )
        bins = (bins * 10.0 ** (-self.margin_db / 10.0)).clamp(min=LEAST_POWER)
        basis = frontend.mel_basis.to(bins.dtype)
        bands = torch.matmul(basis, bins[..., : originals.log_mel.shape[-1]].sqrt()).square()
        return {f"{self._key}.bins": bins, f"{self._key}.bands": bands}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        if output.waveform is None or output.start_waveform is None:
            power = (output.log_mel.exp() - output.start.exp()).square()
            threshold = output.prepared[f"{self._key}.bands"]
        else:
            change = stft(output.waveform - output.start_waveform, self._frontend)
            power = change.real.square() + change.imag.square()
            threshold = output.prepared[f"{self._key}.bins"]
        # From 1 up, that is from 0 dB: a logarithm of 0 never appears, nor in a gradient.
        ratio = (power / threshold).clamp(min=1.0)
        return 10.0 * ratio.log10().mean(dim=(1, 2))
