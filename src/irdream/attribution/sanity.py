"""Does a map change when the network forgets what it learned? (Adebayo et al. 2018, section 3)

The cascade: layer by layer from the output down, the values of each weight tensor are shuffled,
which keeps their scale, and the map of the changed network is compared with the first one.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from irdream.attribution.base import Attribution
from irdream.recognizer import Recognizer

PASSED_BELOW = 0.2


def cascade(
    attribution: Attribution,
    recognizer: Recognizer,
    log_mel: Tensor,
    targets: Tensor,
    *,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Return Spearman's correlation with the first map for each layer from the top, and item.

    The maps are compared with their signs. In a map that is multiplied by the input, magnitudes
    stay alike whatever the network does; signs do not. A map without contrast is like no other: 0.
    The recognizer is copied.
    """
    original = attribution(recognizer, log_mel, targets)
    changed, found = copy.deepcopy(recognizer), {}
    generator = torch.Generator().manual_seed(seed)
    layers = [(name, m) for name, m in changed.model.named_modules() if [*m.parameters(False)]]
    for name, layer in reversed(layers):
        for weight in layer.parameters(recurse=False):
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.data = weight.data.flatten()[order].view_as(weight)
        maps = attribution(changed, log_mel, targets)
        pairs = zip(original.flatten(1).cpu(), maps.flatten(1).cpu(), strict=True)
        found[name] = [_alike(one, other) for one, other in pairs]
    return found


def _alike(one: Tensor, other: Tensor) -> float:
    """Return the rank correlation of two maps; 0 where one of them has but one value."""
    if bool(one.min() == one.max()) or bool(other.min() == other.max()):
        return 0.0
    return float(spearmanr(one, other)[0])  # type: ignore[arg-type]


def left(correlations: dict[str, list[float]]) -> float:
    """Return how much of the maps is left when all layers are shuffled.

    It is the median over the excerpts of the magnitude of the rank correlation; a method passes
    where it is below `PASSED_BELOW`, since the map of a network without a memory is another one.
    """
    return float(np.median(np.abs([*correlations.values()][-1])))
