"""Dreaming the phase of a spectrum whose magnitudes are those of natural sounds (MACO).

A dream of a log-mel can grow any pattern, also such as no sound has. Here the magnitudes of its
spectrum (of the two-dimensional FFT of a log-mel: how strongly levels change over bands and
frames; of the FFT of a waveform: how strong each frequency is) are held to their mean over a
reference set, and only the phases, that is what is where, are dreamed, from random ones. There is
no penalty to weigh, and no step size can leave the statistics of the reference.

Source: T. Fel et al., "Unlocking feature visualization for deeper networks with MAgnitude
Constrained Optimization", NeurIPS 2023, section 3; there for pictures, here for log-mels and
sounds, and with the phases of real spectra kept odd, so that the magnitudes hold exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations.base import Additive, Wrapped, Wrapper
from irdream.dreaming.parametrizations.log_mel import LogMel
from irdream.dreaming.parametrizations.sound import Waveform
from irdream.dreaming.random_streams import substream, uniform
from irdream.errors import InputError
from irdream.recognizer import Recognizer

_STREAM = 0x6D61636F  # of the first phases, apart from those of the random views


class Reference(Protocol):
    """Where natural magnitudes come from; any start of `irdream.datasets.starts` is one."""

    def excerpts(self, *, sample_rate_hz: int, min_seconds: float) -> tuple[Sequence[Any], Any]:
        """Return excerpts with a `.waveform` (samples,), and what could not be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Start(Wrapped):
    magnitude: Tensor  # (items, bands or 1, coefficients)


class Maco(Wrapper[_Start]):
    """The parameters are the phases, in radians, of a spectrum of fixed magnitudes.

    Parameters are (items, bands, 1 + frames // 2), or (items, 1, 1 + samples // 2). The mean
    level (the coefficient at zero frequency) is that of the reference too. The dream does not
    start from the original but from random phases, each item's from its own stream; the original
    gives its length, and with no reference its magnitudes. The range or the peak of `of` is held
    after that. An octave changes nothing.

    A log-mel becomes sound by a sonification, which has no original to lean on, so by default by
    Griffin-Lim.

    Args:
        of: LogMel or Waveform.
        reference: whose mean magnitudes are held, each excerpt cut or repeated to the original's
            length; None: each item holds its own original's.

    Raises:
        InputError: for another `of`; by `start`: when the reference has no excerpt.
    """

    from_original = False
    classes = (LogMel, Waveform)
    expected = "LogMel or Waveform"

    def __init__(self, *, of: Additive, reference: Reference | None = None) -> None:
        super().__init__(of)
        self.step_unit = "radians"
        self.reference = reference

    def start(self, recognizer: Recognizer, originals: Originals) -> _Start:
        """Return the signal of the first phases, and the magnitudes."""
        of = self.of.start(recognizer, originals)
        if self.reference is None:
            magnitude = _magnitude(_spectrogram(of.signal))
        else:
            magnitude = self._mean_magnitude(self.reference, recognizer, originals)
            magnitude = magnitude.expand(len(of.signal), -1, -1)
        start = _Start(**vars(originals), signal=of.signal, of=of, magnitude=magnitude)
        return replace(start, signal=self.signal(start, self.parameters(start)))

    def parameters(self, start: _Start) -> Tensor:
        """Return the first phases, uniform in 0 to 2 pi."""
        magnitude, keys = start.magnitude, substream(start.keys, _STREAM)
        return 2.0 * math.pi * uniform(keys, 0, *magnitude.shape[1:]).to(magnitude.dtype)

    def unit(self, start: _Start) -> Tensor:
        return start.signal.new_ones(len(start.signal), 1, 1)

    def signal(self, start: _Start, parameters: Tensor) -> Tensor:
        """Return the signal with these phases, in the range of `of`."""
        original = start.of.signal
        size = tuple(_spectrogram(original).shape[1:])
        spectrum = torch.polar(start.magnitude, _odd(parameters, size[-1]))
        signal = torch.fft.irfft2(spectrum, s=size).view_as(original)
        return self.of.signal(start.of, signal - original)

    def absorb(self, start: _Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the phases of the constrained signal; its magnitudes are held again."""
        rows = _spectrogram(signal)
        first, inner, last = _columns(torch.fft.rfft2(rows).angle(), rows.shape[-1])
        return torch.cat([first / 2, inner, last / 2], dim=2)

    def _mean_magnitude(
        self, reference: Reference, recognizer: Recognizer, originals: Originals
    ) -> Tensor:
        """Return the mean over a reference, at the items' length, (1, rows, coefficients)."""
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
            waveform = _of_length(excerpt.waveform.to(like), like.shape[-1])[None]
            log_mel = recognizer.log_mel(waveform)
            one = Originals(log_mel=log_mel, sound=waveform, keys=originals.keys[:1])
            sums = sums + _magnitude(_spectrogram(self.of.start(recognizer, one).signal))
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
    """Return the column that is its own mirror, the inner ones, and the last of an even number."""
    return phases.tensor_split((1, (frames + 1) // 2), dim=2)


def _of_length(waveform: Tensor, samples: int) -> Tensor:
    """Cut or repeat (samples,)."""
    return waveform.repeat(-(-samples // len(waveform)))[:samples]
