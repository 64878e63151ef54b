"""What a dream must obey in every step: the nearest signal, or a scaled one, that does.

A constraint is a differentiable projection of the signal (see `parametrizations.base`), for each
item on its own. It is applied before a signal is heard, so that whatever is heard, kept or
written obeys. Where several are given they are applied in their order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from irdream.dreaming.parametrizations.base import Origin
from irdream.errors import InputError
from irdream.recognizer import Recognizer

Kind = Literal["spectrogram", "sound"]


class Constraint(ABC):
    """See the module.

    Attributes:
        acts_on: the kinds of signal that it can hold: "spectrogram", a log-mel or a gain (items,
            bands or bins, frames) in natural log, measured from origin["signal"]; "sound", a
            waveform (items, samples), measured from origin["waveform"].
    """

    acts_on: tuple[Kind, ...]

    @abstractmethod
    def __call__(self, signal: Tensor, origin: Origin) -> Tensor:
        """Return the signal that obeys; unchanged where it obeys already."""

    def prepare(self, recognizer: Recognizer, origin: Origin, kind: Kind) -> Origin:
        """Compute once a run what does not change; keys begin with the class's name."""
        return {}


class Constraints:
    """Several constraints, each applied to the kind of signal that it can hold.

    Args:
        constraints: in their order.
        kinds: of signal that the parametrization has: "spectrogram", "sound", or both.

    Raises:
        InputError: when one can hold none of them.
    """

    def __init__(self, constraints: Sequence[Constraint], kinds: Sequence[Kind]) -> None:
        self.by_kind: dict[Kind, list[Constraint]] = {"spectrogram": [], "sound": []}
        for constraint in constraints:
            fit: list[Kind] = [kind for kind in kinds if kind in constraint.acts_on]
            if not fit:
                raise InputError(
                    f"{type(constraint).__name__} holds {' or '.join(constraint.acts_on)}, and "
                    f"this parametrization dreams {' and '.join(kinds)}; choose another "
                    "constraint or parametrization"
                )
            self.by_kind[fit[0]].append(constraint)

    def prepare(self, recognizer: Recognizer, origin: Origin) -> Origin:
        """Return what they prepare."""
        prepared: Origin = {}
        for kind, constraints in self.by_kind.items():
            for constraint in constraints:
                prepared |= constraint.prepare(recognizer, origin, kind)
        return prepared

    def project(self, kind: Kind, signal: Tensor, origin: Origin) -> Tensor:
        """Return the signal of this kind that obeys."""
        for constraint in self.by_kind[kind]:
            signal = constraint(signal, origin)
        return signal
