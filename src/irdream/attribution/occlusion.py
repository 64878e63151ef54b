"""Occlusion: what the target's logit loses where a patch is silenced; needs no gradient."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from irdream.arguments import Count, checked
from irdream.attribution.base import Baseline, baseline_of, over_windows, target_logits
from irdream.dreaming.probe import probing
from irdream.recognizer import Recognizer


@checked
class Occlusion:
    """Patches side by side are set to the baseline (Zeiler and Fergus 2014, section 4.2).

    What the logit of a window falls by is spread evenly over the patch's bins. On a network that
    adds up its input, the sum of the relevance is that of the logit less the baseline's.

    Args:
        bands: height of a patch.
        frames: its width; half a window away from an edge it is cut off there.
        baseline: see `baseline_of`.
    """

    def __init__(
        self, *, bands: Count = 16, frames: Count = 11, baseline: Baseline = "silence"
    ) -> None:
        self.bands, self.frames = bands, frames
        self.baseline: Baseline = baseline

    @torch.no_grad()
    def __call__(self, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Tensor:
        """Return relevance (items, n_mels, frames)."""
        base = baseline_of(recognizer, log_mel, self.baseline).expand(*log_mel.shape[:2], 1)

        with probing(recognizer) as probe:

            def explain(windows: Tensor, items: Tensor) -> Tensor:
                def logit(given: Tensor) -> Tensor:
                    parts = probe.slices(given)
                    return torch.cat([target_logits(probe(given[p])[0], wanted[p]) for p in parts])

                wanted, relevance = targets[items], torch.zeros_like(windows)
                whole, height, width = logit(windows), *windows.shape[1:]
                corners = product(range(0, height, self.bands), range(0, width, self.frames))
                for top, left in corners:
                    patch = (..., slice(top, top + self.bands), slice(left, left + self.frames))
                    silenced = windows.clone()
                    silenced[patch] = base[items][:, top : top + self.bands]
                    bins = relevance[patch][0].numel()
                    relevance[patch] = ((whole - logit(silenced)) / bins)[:, None, None]
                return relevance

            return over_windows(recognizer, log_mel, explain)
