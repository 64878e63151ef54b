"""A mask found by ascent: the least of the sound that keeps the answer, whose rest loses it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from irdream.arguments import Amount, Count, Positive, checked
from irdream.dreaming.ascent import Ascent
from irdream.dreaming.objectives import Complement, LogProbability, MeanGain
from irdream.dreaming.parametrizations import StftMask
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@checked
class AscendedMask:
    """A gain m of 0 to 1 on the spectrum that maximizes log p(m) + log(1 - p(1-m)) - s mean(m).

    p is the target's probability in a window of the sound that m lets through, the mean over
    windows is taken; s is `sparsity`. What L-MAC (Paissan et al. 2024) trains a decoder for is here
    found for each excerpt, as a dream: `parametrization=stft_mask`, `objective=mask`, Adam.

    Args:
        steps: of the ascent.
        step_size: Adam's, on the logit of the gain.
        sparsity: what a gain of 1 everywhere costs.
        bins: of the spectrum to a point of the mask's grid.
        frames: to a point of it.
    """

    needs_sound = gives_mask = True

    def __init__(
        self,
        *,
        steps: Count = 20,
        step_size: Positive = 0.3,
        sparsity: Amount = 4.0,
        bins: Count = 4,
        frames: Count = 4,
    ) -> None:
        self.ascent = Ascent(
            parametrization=StftMask(bins=bins, frames=frames),
            objective=LogProbability() + Complement() - sparsity * MeanGain(),
            optimizer=torch.optim.Adam,
            step_size=step_size,
            steps=steps,
            confidence=None,
            keep="last",
        )

    def __call__(
        self,
        recognizer: Recognizer,
        log_mel: Tensor,
        targets: Tensor,
        *,
        waveform: Tensor | None = None,
    ) -> Tensor:
        """Return the mean gain of the bins of each band, 0 to 1; InputError without a waveform."""
        if waveform is None:
            raise InputError(
                "AscendedMask masks the sound, and a log-mel alone was given; give a sound file or "
                "waveforms, or choose another method, such as SmoothGrad()"
            )
        seeds = [0] * len(targets)  # nothing is random
        dreams = self.ascent.run(recognizer, waveform, targets, seeds)
        basis = cast(Tensor, recognizer.stft_grid.mel_basis)
        gain = (basis / basis.sum(dim=1, keepdim=True)) @ dreams.signal.exp()
        return gain[..., : log_mel.shape[-1]]
