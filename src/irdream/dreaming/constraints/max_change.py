"""The largest change of a time-frequency bin."""

from __future__ import annotations

from torch import Tensor

from irdream.dreaming.constraints.base import Constraint, Kind
from irdream.dreaming.constraints.planes import limited
from irdream.dreaming.parametrizations.base import Origin
from irdream.dreaming.parametrizations.log_mel import NATURAL_PER_DB
from irdream.errors import InputError


class MaxChange(Constraint):
    """No bin of the plane changes by more than this: the ball of the maximum norm.

    Args:
        db: up and down, in dB.

    Raises:
        InputError: when it is not above 0.
    """

    acts_on: tuple[Kind, ...] = ("spectrogram",)

    def __init__(self, *, db: float) -> None:
        if not db > 0:
            raise InputError(f"constraint.db={db}; expected a number above 0, such as 3")
        self.db = db
        self._most = db * NATURAL_PER_DB

    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the nearest signal that obeys."""
        start = origin["signal"]
        return limited(signal, start - self._most, start + self._most)
