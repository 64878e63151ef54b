"""What is dreamed, and how it becomes what the network gets.

The ascent changes an item's *parameters*. A parametrization turns them into a *signal*: a
log-mel or a gain on a spectrum (both spectrograms, natural log of magnitude), or a waveform.
Constraints hold the signal; then the network gets it.

    parameters --signal()--> signal --constraints--> signal --waveform()--> sound, or None
                                                      `------log_mel()----> log-mel
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch.nn.functional as F
from torch import Tensor

from irdream.dreaming.batch import Kind, Originals, Start
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.recognizer import Recognizer

S = TypeVar("S", bound=Start)


class Parametrization(ABC, Generic[S]):
    """See the module.

    Attributes:
        step_unit: what one unit of `dream.step_size` is, for people.
        kinds: what constraints can hold, the signal's own kind first: "spectrogram" where it is
            (items, bands or bins, frames) in natural log, "sound" where it is (items, samples);
            both where a spectrogram is made into sound.
        from_original: whether a dream is a change of the original.
    """

    step_unit: str
    kinds: tuple[Kind, ...]
    from_original: bool = True

    @property
    def acts_on(self) -> Kind:
        return self.kinds[0]

    @abstractmethod
    def start(self, recognizer: Recognizer, originals: Originals) -> S:
        """Return the undreamed signal, with what the other methods need."""

    @abstractmethod
    def parameters(self, start: S) -> Tensor:
        """Return the parameters of the undreamed signal, (items, ...)."""

    @abstractmethod
    def unit(self, start: S) -> Tensor:
        """Return one `step_unit` in the parameters' own unit, (items, 1, ...)."""

    @abstractmethod
    def signal(self, start: S, parameters: Tensor) -> Tensor:
        """Return the signal of parameters, differentiable."""

    def waveform(self, recognizer: Recognizer, start: S, signal: Tensor) -> Tensor | None:
        """Return the sound (items, samples) of a signal, differentiable; None: it is no sound."""
        return None

    def beside(
        self, recognizer: Recognizer, start: S, signal: Tensor, sound: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what becomes of what the network was not given.

        Args:
            recognizer: that dreamed.
            start: of one item.
            signal: (1, ...).
            sound: what its channels have beside their mean, (channels, samples).

        Returns:
            The same as it is in the dream, and the gain of what lies above the network's band.
        """
        return sound, sound.new_ones(())

    def log_mel(
        self, recognizer: Recognizer, start: S, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Return the log-mel (items, n_mels, frames) of a signal and its sound, differentiable."""
        return signal if waveform is None else recognizer.log_mel(waveform)

    def regrid(self, start: S, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Return the parameters for an octave that is coarser than full size by these factors.

        Args:
            start: of the items.
            parameters: of the octave before, or of the undreamed signal.
            coarser: factors of at least 1 for (bands, frames); the last holds for a waveform.
        """
        return parameters

    def absorb(self, start: S, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return parameters whose signal is `signal`, the constrained one, where there are any.

        So that parameters do not run away behind a constraint.
        """
        return parameters


def check_kinds(what: Parametrization, recognizer: Recognizer, originals: Originals) -> None:
    """Raise an InputError where spectrograms are to be dreamed, and there are only sounds."""
    if originals.log_mel.ndim == 2 and "sound" not in what.kinds:
        several = isinstance(recognizer, Ensemble)
        why = "these networks have several kinds" if several else "this network takes waveforms"
        raise InputError(
            f"{type(what).__name__} dreams spectrograms, and {why}; expected StftGain() or "
            "Waveform(): parametrization=low_resolution_stft_gain or waveform"
        )


class Additive(Parametrization[S]):
    """The parameters are a detail that is added to the undreamed signal.

    At an octave the detail has fewer points and is interpolated to full size (see `ascent`).
    """

    def parameters(self, start: S) -> Tensor:
        return start.signal.new_zeros(start.signal.shape)

    def signal(self, start: S, parameters: Tensor) -> Tensor:
        return start.signal + resize(parameters, tuple(start.signal.shape[1:]))

    def regrid(self, start: S, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        shape = start.signal.shape[1:]
        factors = tuple(coarser)[-len(shape) :]
        grid = [min(n, max(2, round(n / by))) for n, by in zip(shape, factors, strict=True)]
        return resize(parameters, tuple(grid))

    def absorb(self, start: S, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the difference to the undreamed signal, at full size."""
        return signal - start.signal if parameters.shape == signal.shape else parameters


@dataclass(frozen=True, kw_only=True)
class Wrapped(Start):
    """The start of a wrapper; `of` is that of the parametrization inside."""

    of: Any


W = TypeVar("W", bound=Wrapped)


class Wrapper(Parametrization[W]):
    """Dreams the signal of another parametrization in other terms; range and sound are left to it.

    Raises:
        InputError: when `of` is none of `classes`.
    """

    classes: tuple[type[Additive], ...] = (Additive,)
    expected = "LogMel, Waveform, StftGain or another Additive"

    def __init__(self, of: Additive) -> None:
        if not isinstance(of, self.classes):
            found = repr(of) if of is None or isinstance(of, str) else type(of).__name__
            raise InputError(f"parametrization.of={found}; expected an object: {self.expected}")
        self.of = of
        self.step_unit, self.kinds = of.step_unit, of.kinds

    def waveform(self, recognizer: Recognizer, start: W, signal: Tensor) -> Tensor | None:
        return self.of.waveform(recognizer, start.of, signal)

    def beside(
        self, recognizer: Recognizer, start: W, signal: Tensor, sound: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.of.beside(recognizer, start.of, signal, sound)


def resize(detail: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate (items, ...) linearly to another size of its one or two axes."""
    if tuple(detail.shape[1:]) == tuple(size):
        return detail
    mode = "linear" if detail.ndim == 2 else "bilinear"
    return F.interpolate(detail[:, None], size=size, mode=mode, align_corners=False)[:, 0]
