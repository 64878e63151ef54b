"""What dreams the signal of another parametrization in other terms."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from irdream.dreaming.parametrizations.base import Additive, Origin, Parametrization
from irdream.errors import InputError
from irdream.recognizer import Recognizer


class Wrapper(Parametrization):
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

    def start(self, recognizer: Recognizer, origin: Origin) -> Origin:
        """Return what `of` starts from."""
        return self.of.start(recognizer, origin)

    def waveform(self, recognizer: Recognizer, origin: Origin, signal: Tensor) -> Tensor | None:
        """Return the sound as `of` makes it."""
        return self.of.waveform(recognizer, origin, signal)

    def consistent(self, recognizer: Recognizer, origin: Origin, signal: Tensor) -> Tensor:
        """Return the nearest signal that a sound has, as `of` finds it."""
        return self.of.consistent(recognizer, origin, signal)

    def log_mel(
        self, recognizer: Recognizer, origin: Origin, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Return what is heard, as `of` makes it."""
        return self.of.log_mel(recognizer, origin, signal, waveform)
