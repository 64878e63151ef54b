"""What a dream must obey: the nearest signal, or a scaled one, that does.

A constraint is a differentiable projection of the signal (see `parametrizations.base`), for each
item on its own. It is applied before the network gets a signal, so that whatever is predicted of,
kept or written obeys. One with a period acts between steps instead. Several act in their order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from irdream.dreaming.batch import Kind, Start
from irdream.errors import InputError
from irdream.recognizer import Recognizer

Prepared = Sequence[dict[str, Any]]  # by each of several constraints


class Constraint(ABC):
    """See the module.

    Attributes:
        acts_on: the kinds of signal that it can hold: "spectrogram", a log-mel or a gain (items,
            bands or bins, frames) in natural log; "sound", a waveform (items, samples).
        every: None: it holds in every evaluation; n: it acts once after each nth step of an
            octave, and has no part in the gradient; 0: never.
    """

    acts_on: tuple[Kind, ...]
    every: int | None = None

    @abstractmethod
    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        """Return the signal that obeys; unchanged where it obeys already.

        Args:
            signal: of one of the kinds.
            original: what a change is measured from: the start's signal, or its sound.
            prepared: what `prepare` returned, of the same items.
        """

    def prepare(self, recognizer: Recognizer, start: Start, kind: Kind) -> dict[str, Any]:
        """Compute once a run what does not change; tensors have an axis of items."""
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
        self.held: list[tuple[Constraint, Kind]] = []
        for constraint in constraints:
            fit: list[Kind] = [kind for kind in kinds if kind in constraint.acts_on]
            if not fit:
                raise InputError(
                    f"{type(constraint).__name__} holds {' or '.join(constraint.acts_on)}, and "
                    f"this parametrization dreams {' and '.join(kinds)}; choose another "
                    "constraint or parametrization"
                )
            self.held.append((constraint, fit[0]))

    def prepare(self, recognizer: Recognizer, start: Start) -> list[dict[str, Any]]:
        return [constraint.prepare(recognizer, start, kind) for constraint, kind in self.held]

    def project(
        self, kind: Kind, signal: Tensor, start: Start, prepared: Prepared, step: int | None = None
    ) -> Tensor:
        """Return the signal of this kind that obeys; those with a period act after their steps."""
        original = start.signal if kind == "spectrogram" else start.sound
        for (constraint, its_kind), own in zip(self.held, prepared, strict=True):
            if its_kind == kind and _is_due(constraint, step):
                signal = constraint(signal, cast(Tensor, original), own)
        return signal

    @torch.no_grad()
    def after_step(
        self, kind: Kind, signal: Tensor, start: Start, prepared: Prepared, step: int
    ) -> Tensor | None:
        """Return the signal after a step of the octave, from 1; None where nothing holds it."""
        due = [constraint for constraint, _ in self.held if _is_due(constraint, step)]
        if any(constraint.every for constraint in due):
            return self.project(kind, signal, start, prepared, step)
        return signal if due else None


def _is_due(constraint: Constraint, step: int | None) -> bool:
    every = constraint.every
    return every is None or (step is not None and every > 0 and step % every == 0)
