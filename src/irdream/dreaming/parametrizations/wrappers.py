"""Dreaming the detail of another parametrization in other terms: its spectrum, phases, or grids.

A step that is equal in all coefficients or points would be mostly fine grain, since most of them
are fine. Weighting a spectrum by the inverse of the frequency (low modulations of a log-mel, low
frequencies of a sound), or adding grids of many resolutions, gives dreams with large shapes.

Source of `Fourier`: C. Olah, A. Mordvintsev, L. Schubert, "Feature visualization", Distill 2017,
section "Preconditioning and parameterization".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor

from irdream.arguments import Count, checked
from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive, LogMel, Wrapper, resize
from irdream.dreaming.parametrizations.sound import Waveform
from irdream.dreaming.random_streams import normal, substream, uniform
from irdream.errors import InputError


@dataclass(kw_only=True)
class Fourier(Wrapper):
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

    Raises:
        InputError: for another `of`, or a decay that is not two numbers of at least 0.
    """

    of: Additive  # LogMel, Waveform or StftGain
    decay: Sequence[float] = (1.0, 1.0)  # along mel bands and frames; a waveform has the last

    def __post_init__(self) -> None:
        super().__post_init__()
        decay = self.decay
        if not (len(decay) == 2 and all(0 <= d < math.inf for d in decay)):
            raise InputError(
                f"parametrization.decay={list(decay)}; expected two numbers of at least 0, for "
                "mel bands and frames, such as [1, 1]"
            )

    def start(self, originals: Originals) -> Start:
        """Return what `of` starts from, and the weights, (items, 1, *coefficients)."""
        of = self.of.start(originals)
        weights = self._weights(tuple(of.signal.shape[1:]), of.signal)
        weights = weights.expand(len(of.signal), 1, *weights.shape)
        return originals.start(of.signal, spectrum=of.spectrum, of=of, weights=weights)

    def parameters(self, start: Start) -> Tensor:
        items, _, *coefficients = start.own["weights"].shape
        return start.signal.new_zeros(items, 2, *coefficients)

    def unit(self, start: Start) -> Tensor:
        """Return the unit of `of`, for which the weights are scaled."""
        return self.of.unit(start.own["of"])[:, None]

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        """Return the signal of `of` with the detail."""
        weights, shape = start.own["weights"], start.signal.shape
        real, imaginary = (fitted(parameters, tuple(weights.shape[2:])) * weights).unbind(1)
        spectrum = torch.complex(real, imaginary)
        detail = torch.fft.irfftn(spectrum, s=shape[1:], dim=_axes(shape), norm="ortho")
        return self.of.signal(start.own["of"], detail)

    def regrid(self, start: Start, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Keep the frequencies up to 1 / (2 * coarser), or add zeros for those up to it."""
        points = start.signal.shape[1:]
        factors = tuple(coarser)[-len(points) :]
        highest = [
            min(n // 2, max(1, math.floor(n / (2 * by))))
            for n, by in zip(points, factors, strict=True)
        ]
        rows = [min(n, 2 * most + 1) for n, most in zip(points[:-1], highest[:-1], strict=True)]
        return fitted(parameters, (*rows, highest[-1] + 1))

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the coefficients of the difference to the undreamed signal.

        At an octave the frequencies that it lacks are left out.
        """
        detail = signal - start.signal
        spectrum = torch.fft.rfftn(detail, dim=_axes(detail.shape), norm="ortho")
        coefficients = torch.stack([spectrum.real, spectrum.imag], dim=1)
        return fitted(coefficients / start.own["weights"], tuple(parameters.shape[2:]))

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


_STREAM = 0x6D61636F  # of the first phases, apart from those of the random views


class Reference(Protocol):
    """Where natural magnitudes come from; any start of `irdream.datasets.starts` is one."""

    def excerpts(self, *, sample_rate_hz: int, min_seconds: float) -> tuple[Sequence[Any], Any]:
        """Return excerpts with a `.waveform` (samples,), and what could not be read."""
        ...


@dataclass(kw_only=True)
class Maco(Wrapper):
    """The parameters are the phases, in radians, of a spectrum of natural magnitudes (MACO).

    A dream can grow any pattern, also such as no sound has. Here the magnitudes of its spectrum
    (the two-dimensional FFT of a log-mel, the FFT of a waveform) are held to their mean over a
    reference, and only the phases, that is what is where, are dreamed: no step size can leave the
    statistics of the reference.

    Parameters are (items, bands, 1 + frames // 2), or (items, 1, 1 + samples // 2). The dream does
    not start from the original but from random phases, each item's from its own stream; the
    original gives its length, and with no reference its magnitudes. The range or the peak of `of`
    is held after that. An octave changes nothing. A log-mel becomes sound by Griffin-Lim.

    Source: T. Fel et al., "Unlocking feature visualization for deeper networks with MAgnitude
    Constrained Optimization", NeurIPS 2023, section 3, there for pictures; here the phases are kept
    odd, as those of real spectra, so that the magnitudes hold exactly.

    Raises:
        InputError: for another `of`; by `start`: when the reference has no excerpt.
    """

    from_original = False
    classes = (LogMel, Waveform)
    expected = "LogMel or Waveform"

    of: Additive  # LogMel or Waveform
    # Whose mean magnitudes are held, each excerpt cut or repeated to the original's length; None:
    # each item holds its own original's:
    reference: Reference | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.step_unit = "radians"

    def start(self, originals: Originals) -> Start:
        """Return the signal of the first phases, and the magnitudes, (items, rows, columns)."""
        of = self.of.start(originals)
        if self.reference is None:
            magnitude = _magnitude(_spectrogram(of.signal))
        else:
            magnitude = self._mean_magnitude(self.reference, originals)
            magnitude = magnitude.expand(len(of.signal), -1, -1)
        start = originals.start(of.signal, of=of, magnitude=magnitude)
        return replace(start, signal=self.signal(start, self.parameters(start)))

    def parameters(self, start: Start) -> Tensor:
        """Return the first phases, uniform in 0 to 2 pi."""
        magnitude, keys = start.own["magnitude"], substream(start.keys, _STREAM)
        return 2.0 * math.pi * uniform(keys, 0, *magnitude.shape[1:]).to(magnitude.dtype)

    def unit(self, start: Start) -> Tensor:
        return start.signal.new_ones(len(start.signal), 1, 1)

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        """Return the signal with these phases, in the range of `of`."""
        original = start.own["of"].signal
        size = tuple(_spectrogram(original).shape[1:])
        spectrum = torch.polar(start.own["magnitude"], _odd(parameters, size[-1]))
        signal = torch.fft.irfft2(spectrum, s=size).view_as(original)
        return self.of.signal(start.own["of"], signal - original)

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the phases of the constrained signal; its magnitudes are held again."""
        rows = _spectrogram(signal)
        first, inner, last = _columns(torch.fft.rfft2(rows).angle(), rows.shape[-1])
        return torch.cat([first / 2, inner, last / 2], dim=2)

    def _mean_magnitude(self, reference: Reference, originals: Originals) -> Tensor:
        """Return the mean over a reference, at the items' length, (1, rows, coefficients)."""
        recognizer = originals.recognizer
        excerpts, _ = reference.excerpts(
            sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds
        )
        if not excerpts:
            raise InputError(
                "parametrization.reference gave no excerpt; expected sounds, such as those of "
                "start=excerpt, or parametrization.reference=null"
            )
        like = originals.waveform_for(self)
        sums = like.new_zeros(1)
        for excerpt in excerpts:  # one at a time: a long dream needs long references
            sound, samples = excerpt.waveform.to(like), like.shape[-1]
            waveform = sound.repeat(-(-samples // len(sound)))[None, :samples]
            log_mel, keys = recognizer.log_mel(waveform), originals.keys[:1]
            one = replace(originals, log_mel=log_mel, sound=waveform, keys=keys)
            sums = sums + _magnitude(_spectrogram(self.of.start(one).signal))
        return sums / len(excerpts)


def _spectrogram(signal: Tensor) -> Tensor:
    """Return a signal (items, samples) with a single band."""
    return signal[:, None] if signal.ndim == 2 else signal


def _magnitude(rows: Tensor) -> Tensor:
    """Return the magnitudes (items, rows, coefficients), with its sign that at zero frequency."""
    spectrum = torch.fft.rfft2(rows)
    magnitude = spectrum.abs()
    magnitude[:, 0, 0] = spectrum[:, 0, 0].real
    return magnitude


def _odd(phases: Tensor, frames: int) -> Tensor:
    """Make phases odd where a real signal's spectrum holds both f and -f: in its outer columns.

    There the phase at f is phases(f) - phases(-f): uniform when they are, and zero where f = -f.
    """
    first, inner, last = _columns(phases, frames)
    first, last = (column - column.flip(1).roll(1, dims=1) for column in (first, last))
    return torch.cat([first, inner, last], dim=2)


def _columns(phases: Tensor, frames: int) -> tuple[Tensor, ...]:
    """Split the columns of a half spectrum: frequency 0, inner ones, Nyquist if there is one."""
    return phases.tensor_split((1, (frames + 1) // 2), dim=2)


@checked
@dataclass(kw_only=True)
class LowResolution(Wrapper):
    """The detail of another parametrization is a sum of grids, each interpolated to full size.

    Level k has points for 1 / ratio**k of the bands and of the frames. Parameters are (items,
    points of all levels), the coarsest level first. At an octave the levels finer than it are
    left out, all but the coarsest. A point of a coarse grid gathers the gradients of all points
    around it, so what a region has in common is changed first; with `shared`, what all windows of
    an excerpt have in common.

    The unit is such that a step of RMS 1 along a gradient changes the signal by one step unit RMS
    if the gradient of the signal is white; a step of the same size in all points changes it less.

    Raises:
        InputError: for another `of`, and for `shared` on a waveform, which has no bands.
    """

    of: Additive  # LogMel, Waveform or StftGain
    levels: Count = 4  # how many grids, the finest at full size
    ratio: Annotated[float, Gt(1)] = 2.0  # how much coarser each level is than the one before
    shared: bool = False  # the coarser levels are one column of bands, the same in all frames

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared and self.of.acts_on == "sound":
            raise InputError(
                f"parametrization.shared=true with {type(self.of).__name__}; expected a signal "
                "with bands, such as LogMel, or parametrization.shared=false"
            )

    def start(self, originals: Originals) -> Start:
        """Return what `of` starts from, and how much larger steps are on many grids, (items, 1)."""
        of = self.of.start(originals)
        gain = self._gain(of.signal[:1]).expand(len(of.signal), 1)
        return originals.start(of.signal, spectrum=of.spectrum, of=of, gain=gain)

    def parameters(self, start: Start) -> Tensor:
        return self._zeros(start.signal)

    def unit(self, start: Start) -> Tensor:
        return self.of.unit(start.own["of"]).flatten(1) / start.own["gain"]

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        return self.of.signal(start.own["of"], self._detail(start.signal, parameters))

    def regrid(self, start: Start, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Keep the levels that are no finer than the octave, or add zeros for those up to it."""
        kept = [math.prod(self._grid(start.signal, self.levels - 1))]
        for k in range(self.levels - 2, -1, -1):
            axes = coarser[:1] if self.shared and k else coarser  # a shared one has one frame
            axes = coarser[-1:] if self.of.acts_on == "sound" else axes
            if all(self.ratio**k >= by * (1 - 1e-9) for by in axes):
                kept.append(math.prod(self._grid(start.signal, k)))
        return F.pad(parameters, (0, sum(kept) - parameters.shape[1]))  # may be negative

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Share the difference to the constrained signal among the levels, the coarsest first.

        So a coarse level does not run away while the finest undoes it.
        """
        rest = signal - start.signal - self._detail(signal, parameters)
        absorbed = []
        for level in self._levels(signal, parameters):
            share = F.interpolate(rest[:, None], size=level.shape[1:], mode="area")[:, 0]  # means
            rest = rest - resize(share, signal.shape[1:])
            absorbed.append((level + share).flatten(1))
        return torch.cat(absorbed, dim=1)

    def _zeros(self, signal: Tensor) -> Tensor:
        points = sum(math.prod(self._grid(signal, k)) for k in range(self.levels))
        return signal.new_zeros(len(signal), points)

    def _detail(self, signal: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum of the levels at the size of a signal."""
        levels = [resize(level, signal.shape[1:]) for level in self._levels(signal, parameters)]
        return functools.reduce(torch.add, levels)

    def _levels(self, signal: Tensor, parameters: Tensor) -> list[Tensor]:
        """Return the levels that are there, (items, *grid) each, the coarsest first."""
        levels: list[Tensor] = []
        while parameters.shape[1]:
            grid = self._grid(signal, self.levels - 1 - len(levels))
            level, parameters = parameters.tensor_split([math.prod(grid)], dim=1)
            levels.append(level.unflatten(1, grid))
        return levels

    def _grid(self, signal: Tensor, k: int) -> tuple[int, ...]:
        """Return the size of level k for signals (items, ...)."""
        return tuple(
            1 if self.shared and k and axis else min(n, max(2, round(n / self.ratio**k)))
            for axis, n in enumerate(signal.shape[1:])
        )

    def _gain(self, signal: Tensor) -> Tensor:
        """Return how much a step of RMS 1 along a white gradient changes signals, (1, 1)."""
        key = torch.zeros(1, dtype=torch.int64, device=signal.device)
        gradient = normal(key, 0, *signal.shape[1:]).to(signal.dtype)
        with torch.enable_grad():
            parameters = self._zeros(signal).requires_grad_()
            detail = self._detail(signal, parameters)
            (step,) = torch.autograd.grad(detail, parameters, gradient)
        change = self._detail(signal, step)
        return (change.square().mean() / step.square().mean()).sqrt().view(1, 1)
