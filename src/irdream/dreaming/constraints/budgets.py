"""Budgets of the whole change: where it is too large, all of it is scaled down alike.

Scaling gives the nearest signal within the budget, since a budget of squares is a ball.
"""

from __future__ import annotations

import torch
from torch import Tensor

from irdream.dreaming.constraints.base import Constraint, Kind
from irdream.dreaming.parametrizations.base import Origin
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError
from irdream.recognizer import Recognizer

LEAST_BUDGET_DB = 1e-6  # so that a budget of 0 divides nothing by 0
LEAST_ENERGY = 1e-12  # sum of squares of what may change in digital silence: below 24 bit


class RmseBudget(Constraint):
    """The root mean square of the plane's change stays within a budget.

    Args:
        db: the budget in dB; origin["rmse_budget_db"] (items,), where it is there, is taken
            instead, so that each item can have its own.

    Raises:
        InputError: when it is not above 0.
    """

    acts_on: tuple[Kind, ...] = ("spectrogram",)

    def __init__(self, *, db: float) -> None:
        if not db > 0:
            raise InputError(f"constraint.db={db}; expected a number above 0, such as 2")
        self.db = db

    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the nearest signal that obeys."""
        start = origin["signal"]
        budget_db = origin.get("rmse_budget_db")
        if budget_db is None:
            budget_db = start.new_full((len(start),), self.db)
        budget = budget_db.to(start.dtype).clamp(min=LEAST_BUDGET_DB) * NATURAL_PER_DB
        return scaled_to(signal, start, budget.square() * start[0].numel())


class SnrFloor(Constraint):
    """The signal-to-noise ratio of the sound, the change being the noise, stays above a floor.

    In digital silence any change has a ratio of minus infinity, so nothing changes there that
    could be written to a file of 24 bits.

    Args:
        db: the least ratio, 10 log10(sum x^2 / sum (dream - x)^2).
    """

    acts_on: tuple[Kind, ...] = ("sound",)

    def __init__(self, *, db: float) -> None:
        self.db = db
        self._key = f"SnrFloor({db})"

    def prepare(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Origin:
        """Return the largest energy of a change, (items,)."""
        energy = origin["waveform"].square().sum(dim=1)
        return {self._key: (energy * 10.0 ** (-self.db / 10.0)).clamp(min=LEAST_ENERGY)}

    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the nearest signal that obeys."""
        return scaled_to(signal, origin["waveform"], origin[self._key])


def scaled_to(signal: Tensor, start: Tensor, energy: Tensor) -> Tensor:
    """Scale `signal - start` down to sums of squares of at most `energy` (items,), above 0."""
    change = (signal - start).square().flatten(1).sum(dim=1)
    scale = (energy / torch.maximum(change, energy)).sqrt()  # exactly 1 within the budget
    return start.lerp(signal, scale.view(-1, *[1] * (signal.ndim - 1)))  # exact at 0 and at 1
