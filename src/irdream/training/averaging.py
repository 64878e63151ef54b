"""Averages of the weights, which are often better than the weights themselves.

A number is the decay of an exponential mean after each step (Polyak and Juditsky 1992), smaller at
first, so that the untrained weights are forgotten. "swa" is the plain mean of the weights at the
ends of epochs (Izmailov et al. 2018); it has batch norms collect their statistics anew in one more
pass over the training part, a third of an epoch. Those in eval mode keep theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from irdream.arguments import Share, checked

Rule = Literal["swa"] | Share
From0To1 = Annotated[float, Ge(0), Le(1)]
Tensors = tuple[Tensor, ...] | list[Tensor]


@checked
class Averaging:
    """The average of a model's weights, kept beside it.

    Args:
        rule: "swa", or a decay between 0 and 1, such as 0.999.
        start: the share of the epochs after which "swa" begins.
    """

    def __init__(self, rule: Rule, *, start: From0To1 = 0.5) -> None:
        self.rule: Rule = rule
        self.start = start

    def begin(self, model: nn.Module) -> None:
        """Make a copy of the model, in which the average will be."""
        self._average = AveragedModel(model, multi_avg_fn=self._move, use_buffers=True).eval()
        self._taken = 0  # weights in the average; on the CPU, so that a GPU is not waited for

    @property
    def network(self) -> nn.Module | None:
        """Return the averaged model; None before there is an average."""
        return self._average.module if self._taken > 0 else None

    def after_step(self, model: nn.Module) -> None:
        """Take in the weights after a step of the optimizer."""
        if self.rule != "swa":
            self._take(model)

    def after_epoch(
        self, model: nn.Module, epoch: int, epochs: int, windows: Iterable[Tensor]
    ) -> None:
        """Take in the weights after an epoch; `windows` are for the statistics of batch norm."""
        if self.rule == "swa" and (epoch > math.ceil(self.start * epochs) or self._taken > 0):
            self._take(model)
            _collect_statistics(self._average.module, windows)

    def _take(self, model: nn.Module) -> None:
        self._average.update_parameters(model)
        self._taken += 1

    def state_dict(self) -> dict[str, Any]:
        return self._average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._average.load_state_dict(state)
        self._taken = int(self._average.n_averaged)

    @torch.no_grad()
    def _move(self, averages: Tensors, values: Tensors, _: Tensor | int) -> None:
        """Move averages toward values; whole numbers, such as counts of batches, are copied."""
        share = 1 / (self._taken + 1)
        if isinstance(self.rule, float):
            share = 1 - min(self.rule, (1 + self._taken) / (10 + self._taken))
        for average, value in zip(averages, values, strict=True):
            if torch.is_floating_point(average):
                average.lerp_(value, share)
            else:
                average.copy_(value)


@torch.no_grad()
def _collect_statistics(network: nn.Module, windows: Iterable[Tensor]) -> None:
    """Have batch norms collect their statistics anew; torch's `update_bn` resets frozen ones."""
    network.train()
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all windows
    for batch in windows if norms else ():
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def averaging(rule: Rule | None, start: From0To1 = 0.5) -> Averaging | None:
    """Return an average by its rule; None for none."""
    return None if rule is None else Averaging(rule, start=start)
