"""A mask found by ascent: the least of the sound that keeps the answer, whose rest loses it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.arguments import Amount, Count, Positive, checked
from irdream.attribution.base import baseline_of
from irdream.dreaming.probe import Probe, probing
from irdream.recognizer import Recognizer


@checked
class AscendedMask:
    """A gain m of 0 to 1 on the mel magnitudes that maximizes log p(m) + log(1 - p(1-m)) - s m.

    p is the target's probability in a window, the mean over windows is taken; s is `sparsity` and m
    the mean of the mask. What L-MAC (Paissan et al. 2024) trains a decoder for is here found for
    each excerpt, by Adam from 1/2 everywhere. The mask is smooth, since it lives on a coarser grid
    and is interpolated, and relevance is the mask itself.

    Args:
        steps: of the ascent.
        step_size: Adam's, on the logit of the gain.
        sparsity: what a bin costs.
        bands: mel bands to a point of the grid.
        frames: frames to a point of it.
    """

    def __init__(
        self,
        *,
        steps: Count = 30,
        step_size: Positive = 0.3,
        sparsity: Amount = 4.0,
        bands: Count = 4,
        frames: Count = 4,
    ) -> None:
        self.steps, self.step_size, self.sparsity = steps, step_size, sparsity
        self.bands, self.frames = bands, frames

    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return the mask (items, n_mels, frames), 0 to 1."""
        base = baseline_of(recognizer, log_mel, "silence").expand(len(log_mel), -1, -1)
        with probing(recognizer) as probe, torch.enable_grad():
            found = [
                self._ascend(probe, log_mel[part], targets[part], base[part])
                for part in probe.slices(log_mel)
            ]
        return torch.cat(found)

    def _ascend(self, probe: Probe, log_mel: Tensor, targets: Tensor, base: Tensor) -> Tensor:
        size = log_mel.shape[1:]
        grid = [
            max(2, round(n / by)) for n, by in zip(size, (self.bands, self.frames), strict=True)
        ]
        logit = log_mel.new_zeros(len(log_mel), 1, *grid, requires_grad=True)
        adam = torch.optim.Adam([logit], lr=self.step_size, maximize=True)

        recognizer, loud, floor = probe.recognizer, log_mel.exp(), base.exp()

        def mask() -> Tensor:
            return F.interpolate(logit, size=size, mode="bilinear")[:, 0].sigmoid()

        for _ in range(self.steps):
            m = mask()
            kept, rest = ((gain * loud + (1 - gain) * floor).log() for gain in (m, 1 - m))
            kept, rest = (recognizer.log_probabilities(probe(x)[0]) for x in (kept, rest))
            place = targets[:, None, None].expand(-1, kept.shape[1], 1)
            lost = rest.scatter(2, place, -torch.inf).logsumexp(dim=2)  # log(1 - p)
            score = (kept.gather(2, place)[..., 0] + lost).mean(dim=1)
            score = score - self.sparsity * m.mean(dim=(1, 2))
            adam.zero_grad()
            score.sum().backward()
            adam.step()
        return mask().detach()
