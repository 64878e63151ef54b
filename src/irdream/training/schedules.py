"""What changes from step to step besides the weights: learning rates, and averages of the weights.

All rates are planned before the first epoch. So a state needs no schedule, only the plan, and a
training that gets more epochs than were planned is resumed from the rates that it had.

Averages are often better than the weights themselves. A number is the decay of an exponential mean
after each step (Polyak and Juditsky 1992), smaller at first, so that the untrained weights are
forgotten. "swa" is the plain mean of the weights at the ends of epochs (Izmailov et al. 2018); it
has batch norms collect their statistics anew in one more pass over the training part, a third of an
epoch. Those in eval mode keep theirs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from irdream.arguments import Share, checked
from irdream.errors import InputError

Plan = list[list[dict[str, Any]]]  # by epoch and parameter group: the learning rate and the rest
Rule = Literal["swa"] | Share
From0To1 = Annotated[float, Ge(0), Le(1)]
Tensors = tuple[Tensor, ...] | list[Tensor]


def planned(optimizer: Optimizer, schedule: Callable[[Optimizer], Any] | None, epochs: int) -> Plan:
    """Return the settings of the optimizer in each epoch, which the schedule changes.

    It is one of torch.optim.lr_scheduler, stepped once an epoch. Raises InputError when it cannot
    be made, or needs more than the number of the epoch.
    """

    def settings() -> list[dict[str, Any]]:
        return [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]

    if schedule is None:
        return [settings()] * epochs
    try:
        made = schedule(optimizer)
        plan = [settings()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimizer makes no steps
            while len(plan) < epochs:
                made.step()
                plan.append(settings())
    except InputError:
        raise
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"cannot plan the learning rate of {epochs} epochs: {reason}; expected a scheduler "
            "that depends on the epoch alone: change its settings, or give scheduler=constant"
        ) from error
    return plan


def continued(plan: Plan, before: Plan, done: int) -> Plan:
    """Return the new plan of a training that has done some epochs of another plan.

    With another number of epochs, the rates to come are the new ones, but not higher than those
    that the old plan would still have had, and never 0: the plan neither climbs again nor ends in
    epochs that learn nothing.
    """
    if len(plan) == len(before):
        return before
    highest = [max(rates) for rates in zip(*map(_rates, before[done - 1 :]), strict=True)]
    lasts = [
        next((rate for rate in reversed(rates) if rate > 0), 0.0)
        for rates in zip(*map(_rates, before[:done]), strict=True)
    ]
    found = before[:done]
    for groups in plan[done:]:
        rates = zip(_rates(groups), highest, lasts, strict=True)
        lasts = [min(rate, most) or last for rate, most, last in rates]
        found.append([group | {"lr": rate} for group, rate in zip(groups, lasts, strict=True)])
    return found


def _rates(groups: list[dict[str, Any]]) -> list[float]:
    return [settings["lr"] for settings in groups]


def warmup_cosine(optimizer: Optimizer, *, epochs: int, warmup_epochs: int = 3) -> LambdaLR:
    """Return a schedule that rises in a line and then falls along half a cosine.

    The first epoch has the share 1 / (warmup_epochs + 1) of the learning rate; the last is one step
    before 0. Raises InputError when the rise is below 0 epochs, or as long as the training.
    """
    if not 0 <= warmup_epochs < epochs:
        raise InputError(
            f"scheduler.warmup_epochs={warmup_epochs}; expected 0 or more, "
            f"fewer than train.epochs={epochs}"
        )

    def factor(epoch: int) -> float:
        if epoch < warmup_epochs:
            return (epoch + 1) / (warmup_epochs + 1)
        return (1 + math.cos(math.pi * (epoch - warmup_epochs) / (epochs - warmup_epochs))) / 2

    return LambdaLR(optimizer, factor)


# Averages of the weights


@checked
@dataclass(eq=False)
class Averaging:
    """The average of a model's weights, kept beside it."""

    rule: Rule  # "swa", or a decay between 0 and 1, such as 0.999
    _: KW_ONLY
    start: From0To1 = 0.5  # the share of the epochs after which "swa" begins

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
    """Recompute batch norms' statistics, as torch's `update_bn`, which would reset frozen ones."""
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
