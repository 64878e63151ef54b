"""Random numbers for the windows of a batch, and the decibels they are mostly given in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Range = Sequence[float]


class Draw:
    """Random tensors for one batch, drawn on the CPU so that devices agree."""

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device) -> None:
        self.batch, self.generator, self.device = batch, generator, device

    def uniform(self, ends: Range) -> Tensor:
        """Return a number from the range for each window, (batch,)."""
        values = torch.rand(self.batch, generator=self.generator) * (ends[1] - ends[0]) + ends[0]
        return values.to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Return (batch, *shape) of a normal distribution."""
        return torch.randn(self.batch, *shape, generator=self.generator).to(self.device)

    def exponential(self, shape: Sequence[int]) -> Tensor:
        """Return (batch, *shape) of an exponential distribution of mean 1."""
        values = torch.empty(self.batch, *shape).exponential_(generator=self.generator)
        return values.to(self.device)

    def noise(self, length: int) -> Tensor:
        """Return (batch, length) of white noise, made on the device by a seed from the CPU."""
        seed = int(torch.randint(2**62, (), generator=self.generator))
        own = torch.Generator(self.device).manual_seed(seed)
        return torch.randn(self.batch, length, generator=own, device=self.device)

    def permutation(self) -> Tensor:
        """Return another place in the batch for each window, (batch,)."""
        return torch.randperm(self.batch, generator=self.generator).to(self.device)


def is_range(value: object) -> bool:
    """Return whether a value is [least, most]."""
    return isinstance(value, Sequence) and len(value) == 2 and value[0] <= value[1]


def amplitude(decibels: Tensor) -> Tensor:
    """Return the factor of a level change in dB."""
    return torch.exp(decibels * (math.log(10.0) / 20.0))
