"""Methods that need gradients alone, so that they hold for any network.

All give a gradient times what the excerpt has above the baseline: a band that is as quiet as
silence has no relevance, and on a linear network all three are its weights times the input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.arguments import Amount, Count, checked
from irdream.attribution.base import Baseline, baseline_of, mean_gradient
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.dreaming.random_streams import item_keys, normal
from irdream.recognizer import Recognizer


@checked
class GradientXInput:
    """Gradient x (input - baseline) (Shrikumar et al. 2016, arXiv:1605.01713).

    Args:
        baseline: see `baseline_of`.
    """

    def __init__(self, *, baseline: Baseline = "silence") -> None:
        self.baseline: Baseline = baseline

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline)
        return mean_gradient(recognizer, log_mel, targets) * (log_mel - base)


@checked
class IntegratedGradients:
    """The gradient's mean on the line from the baseline (Sundararajan et al. 2017, equation 1).

    The sum of the relevance is the logit of the excerpt less that of the baseline, but for the
    rule that integrates: the midpoints of `steps` parts.

    Args:
        steps: of the line.
        baseline: see `baseline_of`.
    """

    def __init__(self, *, steps: Count = 32, baseline: Baseline = "silence") -> None:
        self.steps = steps
        self.baseline: Baseline = baseline

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline).expand_as(log_mel)

        def point(items: Tensor, numbers: Tensor) -> Tensor:
            share = ((numbers + 0.5) / self.steps).to(log_mel)[:, None, None]
            return torch.lerp(base[items], log_mel[items], share)

        gradient = mean_gradient(recognizer, log_mel, targets, point=point, count=self.steps)
        return gradient * (log_mel - base)


@checked
class SmoothGrad:
    """The gradient's mean over noisy copies (Smilkov et al. 2017), x (input - baseline).

    The noise is the same for all items, so that none depends on the others.

    Args:
        samples: noisy copies.
        noise_db: standard deviation of the noise on the log-mel.
        baseline: see `baseline_of`.
        seed: of the noise.
    """

    def __init__(
        self,
        *,
        samples: Count = 16,
        noise_db: Amount = 6.0,
        baseline: Baseline = "silence",
        seed: int = 0,
    ) -> None:
        self.samples, self.noise_db, self.seed = samples, noise_db, seed
        self.baseline: Baseline = baseline

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline)
        keys = item_keys([self.seed + i for i in range(self.samples)], log_mel.device)

        def point(items: Tensor, numbers: Tensor) -> Tensor:
            noise = normal(keys[numbers], 0, *log_mel.shape[1:]).to(log_mel)
            return log_mel[items] + self.noise_db * NATURAL_PER_DB * noise

        gradient = mean_gradient(recognizer, log_mel, targets, point=point, count=self.samples)
        return gradient * (log_mel - base)
