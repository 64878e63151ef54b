"""Random views of a log-mel before it is heard: each item its own, in each step another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from irdream.dreaming.random_streams import substream


class Transform(ABC):
    """A view of log-mels that keeps their shape, differentiable."""

    @abstractmethod
    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the view.

        Args:
            log_mel: (items, n_mels, frames), natural log of the magnitude.
            keys: of the items' random streams, (items,); see `random_streams`.
            step: of the ascent.
        """


class Chain(Transform):
    """One view after the other, each with random numbers of its own.

    Args:
        transforms: in their order.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, log_mel: Tensor, keys: Tensor, step: int) -> Tensor:
        """Return the view through all of them."""
        for i, transform in enumerate(self.transforms):
            log_mel = transform(log_mel, substream(keys, i), step)
        return log_mel
