"""What dreams the signal of another parametrization in other terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torch import Tensor

from irdream.dreaming.batch import Start
from irdream.dreaming.parametrizations.base import Additive, Parametrization
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class Wrapped(Start):
    """What the signal of another parametrization starts from in other terms.

    Attributes:
        of: what the other parametrization starts from.
    """

    of: Any


S = TypeVar("S", bound=Wrapped)


class Wrapper(Parametrization[S]):
    """Leaves start, range and sound to another parametrization `of`.

    Args:
        of: whose signal is dreamed.
        classes: what it may be.
        expected: the same in words.

    Raises:
        InputError: when it is something else.
    """

    def __init__(
        self,
        of: Additive,
        *,
        classes: tuple[type[Additive], ...] = (Additive,),
        expected: str = "LogMel, Waveform, StftGain or another Additive",
    ) -> None:
        if not isinstance(of, classes):
            found = repr(of) if of is None or isinstance(of, str) else type(of).__name__
            raise InputError(f"parametrization.of={found}; expected an object: {expected}")
        self.of = of
        self.step_unit, self.acts_on = of.step_unit, of.acts_on

    @property
    def kinds(self) -> tuple[Literal["spectrogram", "sound"], ...]:
        """Return those of `of`."""
        return self.of.kinds

    def waveform(self, recognizer: Recognizer, start: S, signal: Tensor) -> Tensor | None:
        """Return the sound as `of` makes it."""
        return self.of.waveform(recognizer, start.of, signal)

    def log_mel(
        self, recognizer: Recognizer, start: S, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Return what is heard, as `of` makes it."""
        return self.of.log_mel(recognizer, start.of, signal, waveform)
