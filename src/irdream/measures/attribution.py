"""How well a relevance map says what a recognizer listened to.

Sources: F. Paissan, M. Ravanelli, C. Subakan, "Listenable Maps for Audio Classifiers", ICML 2024
(`wav_measures` and sparsity, in percent there); N. Hurley and S. Rickard, IEEE Trans. Inf. Theory
55(10), 2009 (Gini index); V. Petsiuk, A. Das, K. Saenko, "RISE", BMVC 2018 (`curves`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LEVELS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # shares of the bins, in the two curves
_LEAST = 1e-10  # of what is divided by


def top_share(relevance: Tensor, share: float | Tensor) -> Tensor:
    """Return a mask, 1 in the most relevant bins: this share of all, but none at or below 0.

    `relevance` is (items, n_mels, frames); `share` is 0 to 1, or one for each item, (items, 1, 1).
    """
    count = torch.as_tensor(share * relevance[0].numel()).round()
    return ((_ranks(relevance) < count) & (relevance > 0)).to(relevance)


def wav_measures(whole: float, masked: float, rest: float) -> dict[str, float]:
    """Return increase, drop, gain and faithfulness of an excerpt.

    p of the target, of WAVs: of the excerpt, of what the mask lets through, of the rest.
    """
    return {
        "increase": float(masked > whole),
        "drop": max(0.0, whole - masked) / max(whole, _LEAST),
        "gain": max(0.0, masked - whole) / max(1.0 - whole, _LEAST),
        "faithfulness": whole - rest,
    }


def gini(relevance: Tensor) -> Tensor:
    """Return the Gini index of the absolute relevance of each item, (items,); NaN of zeros."""
    values = relevance.flatten(1).abs().double().sort(dim=1).values
    count = values.shape[1]
    places = torch.arange(1, count + 1, device=values.device, dtype=values.dtype)
    weights = (count - places + 0.5) / count
    index = 1 - 2 * (values * weights).sum(dim=1) / values.sum(dim=1)
    return index.to(relevance.dtype)


@torch.no_grad()
def curves(probability: Callable[[Tensor], Tensor], relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the insertion and the deletion curve at `LEVELS`, (items, levels) each.

    `probability` takes masks as the relevance (items, n_mels, frames), 1 in the most relevant bins
    or in all others, and gives that of the targets in what they let through, (items,).
    """
    ranks, bins = _ranks(relevance), relevance[0].numel()
    masks = [(ranks < round(level * bins)).to(relevance) for level in LEVELS]
    insertion = [probability(mask) for mask in masks]
    inner = [probability(1 - mask) for mask in masks[1:-1]]
    deletion = [insertion[-1], *inner, insertion[0]]
    return torch.stack(insertion, dim=1), torch.stack(deletion, dim=1)


def area(curve: Tensor) -> Tensor:
    """Return the area under a curve at `LEVELS`, by trapezia, (items,)."""
    return torch.trapezoid(curve, curve.new_tensor(LEVELS), dim=1)


def random_map(relevance: Tensor, *, seed: int = 0) -> Tensor:
    """Return independent uniform numbers, the same for all items, as a control."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(relevance.shape[1:], generator=generator).to(relevance).expand_as(relevance)


def edge_map(log_mel: Tensor) -> Tensor:
    """Return how steep a log-mel is, as a control: the norm of its central differences."""
    bands, frames = torch.gradient(log_mel, dim=(1, 2))
    return torch.hypot(bands, frames)


def _ranks(values: Tensor) -> Tensor:
    """Return the place of each bin, 0 for the largest; of equal ones the first comes first."""
    order = values.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).view_as(values)
