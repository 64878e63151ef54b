"""Learning rates: which each epoch has, and schedules that torch.optim.lr_scheduler lacks.

All rates are planned before the first epoch. So a state needs no schedule, only the plan, and a
training that gets more epochs than were planned is resumed from the rates that it had.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from irdream.errors import InputError

Plan = list[list[dict[str, Any]]]  # by epoch and parameter group: the learning rate and the rest


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
    """Return the plan for a training that was planned otherwise and has done some epochs.

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
