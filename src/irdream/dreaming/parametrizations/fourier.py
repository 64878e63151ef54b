"""Dreaming a detail as its spectrum, low frequencies first, as in feature visualization.

A step that is equal in all coefficients would be mostly fine grain, since most coefficients are
of high frequencies; weighting them by the inverse of the frequency gives dreams with large
shapes. The frequencies are those of a spectrogram (modulations: cycles a band, cycles a frame) or
of the sound (cycles a sample).

Source: C. Olah, A. Mordvintsev, L. Schubert, "Feature visualization", Distill 2017, section
"Preconditioning and parameterization".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations.base import Additive, Wrapped, Wrapper
from irdream.errors import InputError
from irdream.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class _Start(Wrapped):
    weights: Tensor  # of the coefficients, (items, 1, *coefficients)


class Fourier(Wrapper[_Start]):
    """The detail of another parametrization is the inverse real FFT of weighted coefficients.

    Parameters are (items, 2, bands, 1 + frames // 2), or (items, 2, 1 + samples // 2): real and
    imaginary parts. The weight of a frequency f, in cycles a point on an axis of n points, is
    1 / max(f, 1 / n) ** decay, multiplied over the axes. At an octave only the low frequencies
    are there. The FFT is periodic: the detail's lowest band is a neighbor of the highest, its
    beginning of its end.

    The weights are scaled so that a step of RMS 1 along a gradient changes the signal by one step
    unit RMS if the gradient of the signal is white, and by 0.5 to 1 for the shipped recognizer
    and a decay of 1. Such a step is concentrated on the low frequencies, where the weights are
    large. A step of equal size in all coefficients, as Adam takes it, changes the signal less:
    on a log-mel by about 1/5 of a unit for a decay of 0.5, and 1/25 for 1.

    Args:
        of: LogMel, Waveform or StftGain.
        decay: along mel bands and frames; the last holds for a waveform.

    Raises:
        InputError: for another `of`, or a decay that is not two numbers of at least 0.
    """

    def __init__(self, *, of: Additive, decay: Sequence[float] = (1.0, 1.0)) -> None:
        super().__init__(of)
        if not (len(decay) == 2 and all(0 <= d < math.inf for d in decay)):
            raise InputError(
                f"parametrization.decay={list(decay)}; expected two numbers of at least 0, for "
                "mel bands and frames, such as [1, 1]"
            )
        self.decay = tuple(decay)

    def start(self, recognizer: Recognizer, originals: Originals) -> _Start:
        """Return what `of` starts from, and the weights."""
        of = self.of.start(recognizer, originals)
        weights = self._weights(tuple(of.signal.shape[1:]), of.signal)
        weights = weights.expand(len(of.signal), 1, *weights.shape)
        return _Start(
            **vars(originals), signal=of.signal, spectrum=of.spectrum, of=of, weights=weights
        )

    def parameters(self, start: _Start) -> Tensor:
        """Return zeros."""
        items, _, *coefficients = start.weights.shape
        return start.signal.new_zeros(items, 2, *coefficients)

    def unit(self, start: _Start) -> Tensor:
        """Return the unit of `of`, for which the weights are scaled."""
        return self.of.unit(start.of)[:, None]

    def signal(self, start: _Start, parameters: Tensor) -> Tensor:
        """Return the signal of `of` with the detail."""
        weights, shape = start.weights, start.signal.shape
        real, imaginary = (fitted(parameters, tuple(weights.shape[2:])) * weights).unbind(1)
        spectrum = torch.complex(real, imaginary)
        detail = torch.fft.irfftn(spectrum, s=shape[1:], dim=_axes(shape), norm="ortho")
        return self.of.signal(start.of, detail)

    def regrid(self, start: _Start, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Keep the frequencies up to 1 / (2 * coarser), or add zeros for those up to it."""
        points = start.signal.shape[1:]
        factors = tuple(coarser)[-len(points) :]
        highest = [
            min(n // 2, max(1, math.floor(n / (2 * by))))
            for n, by in zip(points, factors, strict=True)
        ]
        rows = [min(n, 2 * most + 1) for n, most in zip(points[:-1], highest[:-1], strict=True)]
        return fitted(parameters, (*rows, highest[-1] + 1))

    def absorb(self, start: _Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the coefficients of the difference to the undreamed signal.

        At an octave the frequencies that it lacks are left out.
        """
        detail = signal - start.signal
        spectrum = torch.fft.rfftn(detail, dim=_axes(detail.shape), norm="ortho")
        coefficients = torch.stack([spectrum.real, spectrum.imag], dim=1)
        return fitted(coefficients / start.weights, tuple(parameters.shape[2:]))

    def _weights(self, points: tuple[int, ...], like: Tensor) -> Tensor:
        """Return the weights, such that a step along a white gradient has the size of a step."""
        last = points[-1]
        columns = torch.fft.rfftfreq(last, dtype=like.dtype, device=like.device)
        weights = columns.clamp(min=1 / last) ** -self.decay[-1]
        if len(points) == 2:
            rows = torch.fft.fftfreq(points[0], dtype=like.dtype, device=like.device).abs()
            weights = (rows.clamp(min=1 / points[0]) ** -self.decay[0])[:, None] * weights
        # An inner column stands for the frequencies f and -f; the first, and of an even number
        # of points the last, for itself. With 1 / sqrt(2) the transform is a rotation.
        share = torch.ones_like(columns)
        share[1 : (last + 1) // 2] = 2.0
        power = weights.square()
        # The gradient of the coefficients has the RMS sqrt(sum w^2 / coefficients); the signal
        # of that, weighted again, sqrt(sum w^4 / points).
        change = (share * power.square()).sum() / math.prod(points)
        step = (share * power).sum() / (2 * power.numel())
        return weights / (share * change / step).sqrt()


def fitted(coefficients: Tensor, size: tuple[int, ...]) -> Tensor:
    """Cut off the highest frequencies of (items, 2, *coefficients), or add zeros, to a size."""
    if tuple(coefficients.shape[2:]) == size:
        return coefficients
    coefficients = F.pad(coefficients, (0, size[-1] - coefficients.shape[-1]))  # may be negative
    if len(size) == 1:
        return coefficients
    rows = coefficients.shape[2]  # the frequencies from 0 up, then the negative ones up to -1
    kept = min(size[0], rows)
    above, below = coefficients[:, :, : (kept + 1) // 2], coefficients[:, :, rows - kept // 2 :]
    missing = above.new_zeros(*above.shape[:2], size[0] - kept, above.shape[3])
    return torch.cat([above, missing, below], dim=2)


def _axes(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(range(1, len(shape)))
