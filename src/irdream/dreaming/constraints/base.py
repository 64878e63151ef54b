"""What a dream must obey: the nearest signal, or a scaled one, that does.

A constraint is a differentiable projection of the signal (see `parametrizations.base`), for each
item on its own. It is applied before the network gets a signal, so that whatever is predicted of,
kept or written obeys. One with a period acts between steps instead. Several act in their order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from irdream.arguments import Natural, checked
from irdream.audio.stft import inverse_stft, stft, with_mel_gain
from irdream.dreaming.batch import Kind, Start, log_of
from irdream.errors import InputError

Prepared = Sequence[dict[str, Any]]  # by each of several constraints


class Constraint(ABC):
    """See the module."""

    acts_on: tuple[Kind, ...]  # what it can hold; see `Parametrization.kinds`
    # None: it holds in every evaluation; n: it acts once after each nth step of an octave, and has
    # no part in the gradient; 0: never:
    every: int | None = None

    @abstractmethod
    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        """Return the signal that obeys; unchanged where it obeys already.

        A change is measured from `original`, the start's signal or its sound; `prepared` is what
        `prepare` returned, of the same items.
        """

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        """Compute once a run what does not change; tensors have an axis of items."""
        return {}


class Constraints:
    """Several constraints, each applied to the first kind of signal that it can act on.

    Raises:
        InputError: when one can hold none of the kinds that the parametrization has.
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

    def prepare(self, start: Start) -> list[dict[str, Any]]:
        return [constraint.prepare(start, kind) for constraint, kind in self.held]

    def project(
        self, kind: Kind, signal: Tensor, start: Start, prepared: Prepared, step: int | None = None
    ) -> Tensor:
        """Return the projected signal of this kind; those with a period act after their steps."""
        original = start.signal if kind == "spectrogram" else start.sound
        for (constraint, its_kind), own in zip(self.held, prepared, strict=True):
            if its_kind == kind and _is_due(constraint, step):
                signal = constraint(signal, cast(Tensor, original), own)
        return signal

    @torch.no_grad()
    def after_step(
        self, kind: Kind, signal: Tensor, start: Start, prepared: Prepared, step: int
    ) -> Tensor | None:
        """Return the projected signal after a step, counted from 1; None without any constraint."""
        due = [constraint for constraint, _ in self.held if _is_due(constraint, step)]
        if any(constraint.every for constraint in due):
            return self.project(kind, signal, start, prepared, step)
        return signal if due else None


def _is_due(constraint: Constraint, step: int | None) -> bool:
    every = constraint.every
    return every is None or (step is not None and every > 0 and step % every == 0)


@checked
class Consistency(Constraint):
    """The signal becomes that of the sound it makes: the original's STFT times its gain, inverted.

    It acts every so many steps, 0: never. A log-mel is made a gain on bins as `sonification` does
    it, and becomes the log-mel of the sound; a waveform stays as it is. `prepare` refuses log-mels
    alone.
    """

    acts_on = ("spectrogram", "sound")

    def __init__(self, *, every: Natural) -> None:
        self.every = every

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        if kind == "sound" or not self.every:
            return {}
        start.waveform_for(self)
        return {"start": replace(start, own={})}

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        if not prepared:
            return signal
        start: Start = prepared["start"]
        waveform, grid = start.waveform_for(self), start.recognizer.stft_grid
        if start.spectrum is None:
            sound = with_mel_gain(waveform, signal - start.log_mel, grid)
            return start.recognizer.log_mel(sound)
        spectrum = stft(waveform, grid)
        sound = inverse_stft(spectrum * signal.exp(), grid, samples=waveform.shape[-1])
        return log_of(stft(sound, grid).abs()) - log_of(spectrum.abs())


def with_consistency(
    constraint: Constraint | Sequence[Constraint] | None, every: int
) -> Constraint | Sequence[Constraint] | None:
    """Return constraints with a consistency before them; as they are where `every` is 0."""
    return [Consistency(every=every), *listed(constraint)] if every else constraint


def listed(constraint: Constraint | Sequence[Constraint] | None) -> list[Constraint]:
    """Return one constraint, several or none as a list."""
    if isinstance(constraint, Sequence) and not isinstance(constraint, str):
        return list(constraint)
    return [] if constraint is None else [cast(Any, constraint)]
