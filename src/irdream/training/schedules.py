"""Learning-rate schedules that torch.optim.lr_scheduler does not have as one."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from irdream.errors import InputError


def warmup_cosine(optimizer: Optimizer, *, epochs: int, warmup_epochs: int = 3) -> LambdaLR:
    """Return a schedule that rises in a line and then falls along half a cosine.

    The first epoch has the share 1 / (warmup_epochs + 1) of the learning rate; the last is
    one step before 0.

    Raises:
        InputError: when the rise is below 0 epochs, or as long as the training.
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
