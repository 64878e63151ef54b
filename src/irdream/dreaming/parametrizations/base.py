"""What is dreamed, and how it becomes what the recognizer hears.

The ascent changes an item's *parameters*. A parametrization turns them into a *signal*: a
log-mel, a gain on a spectrum (both planes of frequency and time, natural log of magnitude), or a
waveform. Constraints hold the signal; then it is heard.

    parameters --signal()--> signal --constraints--> signal --waveform()--> sound, or None
                                                      `------log_mel()----> what is heard
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from irdream.recognizer import Recognizer

Origin = dict[str, Tensor]
"""What an item starts from. Every tensor has an axis of items, so that items can be picked.

"signal": the undreamed signal; "waveform": the original (items, samples); "log_mel": the
original's (items, n_mels, frames); "keys": of the items' random streams (items,); and what a
parametrization or a constraint adds under its own names.
"""


class Parametrization(ABC):
    """See the module.

    Attributes:
        step_unit: what one unit of `dream.step_size` is, for people.
        acts_on: what constraints can hold: "spectrogram" where the signal is (items, bands or bins,
            frames) in natural log, "sound" where it is (items, samples).
        from_original: whether a dream is a change of the original.
    """

    step_unit: str
    acts_on: Literal["spectrogram", "sound"]
    from_original: bool = True

    @property
    def kinds(self) -> tuple[Literal["spectrogram", "sound"], ...]:
        """Return the kinds of signal that constraints can hold; both where a plane is sound."""
        return (self.acts_on,)

    @abstractmethod
    def start(self, recognizer: Recognizer, origin: Origin) -> Origin:
        """Return what to add to `origin` ("waveform", "log_mel", "keys"): at least "signal"."""

    @abstractmethod
    def parameters(self, origin: Origin) -> Tensor:
        """Return the parameters of the undreamed signal, (items, ...)."""

    @abstractmethod
    def unit(self, origin: Origin) -> Tensor:
        """Return one `step_unit` in the parameters' own unit, (items, 1, ...)."""

    @abstractmethod
    def signal(self, origin: Origin, parameters: Tensor) -> Tensor:
        """Return the signal of parameters, differentiable."""

    @abstractmethod
    def log_mel(
        self, recognizer: Recognizer, origin: Origin, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Return what is heard, (items, n_mels, frames), differentiable."""

    def waveform(self, recognizer: Recognizer, origin: Origin, signal: Tensor) -> Tensor | None:
        """Return the sound (items, samples) of a signal, differentiable; None: it is no sound."""
        return None

    def consistent(self, recognizer: Recognizer, origin: Origin, signal: Tensor) -> Tensor:
        """Return the nearest signal that a sound has; the signal itself, where it is sound."""
        return signal

    def regrid(self, origin: Origin, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Return the parameters for an octave that is coarser than full size by these factors.

        Args:
            origin: of the items.
            parameters: of the octave before, or of the undreamed signal.
            coarser: factors of at least 1 for (bands, frames); the last holds for a waveform.
        """
        return parameters

    def absorb(self, origin: Origin, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return parameters whose signal is `signal`, the constrained one, where there are any.

        So that parameters do not run away behind a constraint.
        """
        return parameters


class Additive(Parametrization):
    """The parameters are a detail that is added to the undreamed signal.

    At an octave the detail has fewer points and is interpolated to full size (see `ascent`).
    """

    def parameters(self, origin: Origin) -> Tensor:
        """Return zeros."""
        return origin["signal"].new_zeros(origin["signal"].shape)

    def signal(self, origin: Origin, parameters: Tensor) -> Tensor:
        """Return the undreamed signal and the detail at full size."""
        start = origin["signal"]
        return start + resize(parameters, tuple(start.shape[1:]))

    def regrid(self, origin: Origin, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Interpolate the detail to another grid."""
        shape = origin["signal"].shape[1:]
        factors = tuple(coarser)[-len(shape) :]
        grid = [min(n, max(2, round(n / by))) for n, by in zip(shape, factors, strict=True)]
        return resize(parameters, tuple(grid))

    def absorb(self, origin: Origin, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the difference to the undreamed signal, at full size."""
        if parameters.shape != signal.shape:
            return parameters
        return signal - origin["signal"]


def resize(detail: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate (items, ...) linearly to another size of its one or two axes."""
    if tuple(detail.shape[1:]) == tuple(size):
        return detail
    mode = "linear" if detail.ndim == 2 else "bilinear"
    return F.interpolate(detail[:, None], size=size, mode=mode, align_corners=False)[:, 0]
