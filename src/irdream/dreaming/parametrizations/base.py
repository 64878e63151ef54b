"""What is dreamed, and how it becomes what the network gets.

The ascent changes an item's *parameters*. A parametrization turns them into a *signal*: a
log-mel or a gain on a spectrum (both spectrograms, natural log of magnitude), or a waveform.
Constraints hold the signal; then the network gets its log-mel, or that of the sound it makes.

    parameters --signal()--> signal --constraints--> signal --waveform()--> sound, or None
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.audio import load_channels, resample
from irdream.audio.stft import NATURAL_PER_DB
from irdream.dreaming.batch import Kind, Originals, Start
from irdream.ensemble import Ensemble
from irdream.errors import InputError
from irdream.recognizer import Recognizer

FULL_RANGE_DB = (-100.0, 20.0)  # from the floor to the loudest band of a full-scale sine
_FULL = tuple(value * NATURAL_PER_DB for value in FULL_RANGE_DB)
_LOG_MAGNITUDES = (-30.0, 8.0)  # natural log: what lies beyond is in another unit
_BEYOND = 2e-6  # natural log: two roundings of a float32 at the floor


class Parametrization(ABC):
    """See the module."""

    step_unit: str  # what one unit of `dream.step_size` is, for people
    # What constraints can hold, the signal's own kind first: "spectrogram", (items, bands or bins,
    # frames) in natural log, "sound", (items, samples); both where one is made into the other:
    kinds: tuple[Kind, ...]
    from_original: bool = True  # whether a dream is a change of the original

    @property
    def acts_on(self) -> Kind:
        return self.kinds[0]

    @abstractmethod
    def start(self, originals: Originals) -> Start:
        """Return the undreamed signal, with what the other methods need."""

    @abstractmethod
    def parameters(self, start: Start) -> Tensor:
        """Return the parameters of the undreamed signal, (items, ...)."""

    @abstractmethod
    def unit(self, start: Start) -> Tensor:
        """Return one `step_unit` in the parameters' own unit, (items, 1, ...)."""

    @abstractmethod
    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        """Return the signal of parameters, differentiable."""

    def waveform(self, start: Start, signal: Tensor) -> Tensor | None:
        """Return the sound (items, samples) of a signal, differentiable; None: it is no sound."""
        return None

    def beside(self, start: Start, signal: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Return how a dream, of a signal (1, ...), changes what the network did not get.

        That is what its channels have beside their mean, (channels, samples), as it is in the
        dream, and the gain of what lies above the network's band.
        """
        return sound, sound.new_ones(())

    def regrid(self, start: Start, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        """Return the parameters, of the octave before, for one that is so much coarser.

        `coarser` has factors of at least 1 for (bands, frames); the last holds for a waveform.
        """
        return parameters

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return parameters whose signal is `signal`, the constrained one, where there are any.

        So that parameters do not run away behind a constraint.
        """
        return parameters


def check_kinds(what: Parametrization, originals: Originals) -> None:
    """Raise an InputError where spectrograms are to be dreamed, and there are only sounds."""
    if originals.log_mel.ndim == 2 and "sound" not in what.kinds:
        several = isinstance(originals.recognizer, Ensemble)
        why = "these networks have several kinds" if several else "this network takes waveforms"
        raise InputError(
            f"{type(what).__name__} dreams spectrograms, and {why}; expected StftGain() or "
            "Waveform(): parametrization=low_resolution_stft_gain or waveform"
        )


class Additive(Parametrization):
    """The parameters are a detail that is added to the undreamed signal.

    At an octave the detail has fewer points and is interpolated to full size (see `ascent`).
    """

    def parameters(self, start: Start) -> Tensor:
        return start.signal.new_zeros(start.signal.shape)

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        return start.signal + resize(parameters, start.signal.shape[1:])

    def regrid(self, start: Start, parameters: Tensor, coarser: Sequence[float]) -> Tensor:
        shape = start.signal.shape[1:]
        return resize(parameters, coarser_grid(shape, tuple(coarser)[-len(shape) :]))

    def absorb(self, start: Start, parameters: Tensor, signal: Tensor) -> Tensor:
        """Return the difference to the undreamed signal, at full size."""
        return signal - start.signal if parameters.shape == signal.shape else parameters


@dataclass(kw_only=True)
class Wrapper(Parametrization):
    """Dreams the signal of another parametrization in other terms; range and sound are left to it.

    Its start has that of the parametrization inside, as `own["of"]`.

    Raises:
        InputError: when `of` is none of `classes`.
    """

    classes = (Additive,)
    expected = "LogMel, Waveform, StftGain or another Additive"
    of: Additive

    def __post_init__(self) -> None:
        of = self.of
        if not isinstance(of, self.classes):
            found = repr(of) if of is None or isinstance(of, str) else type(of).__name__
            raise InputError(f"parametrization.of={found}; expected an object: {self.expected}")
        self.step_unit, self.kinds = of.step_unit, of.kinds

    def waveform(self, start: Start, signal: Tensor) -> Tensor | None:
        return self.of.waveform(start.own["of"], signal)

    def beside(self, start: Start, signal: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        return self.of.beside(start.own["of"], signal, sound)


def coarser_grid(shape: Sequence[int], factors: Sequence[float]) -> list[int]:
    """Return the points of a grid along each axis of a shape, two at least where there are two."""
    return [min(n, max(2, round(n / by))) for n, by in zip(shape, factors, strict=True)]


def resize(detail: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate (items, ...) linearly to another size of its one or two axes."""
    if tuple(detail.shape[1:]) == tuple(size):
        return detail
    mode = "linear" if detail.ndim == 2 else "bilinear"
    return F.interpolate(detail[:, None], size=tuple(size), mode=mode, align_corners=False)[:, 0]


@dataclass(kw_only=True)
class LogMel(Additive):
    """The log-mel itself, as in the paper: (items, n_mels, frames), natural log of the magnitude.

    The dream is no sound: a sonification has to find one. Values of an original that lie outside
    -100 to 20 dB widen its range, so that it is dreamed as it is.

    Raises:
        InputError: when the range is none; by `start`: when an original is no log of a magnitude.
    """

    kinds = ("spectrogram",)
    # Least and largest value of a dream, in dB re magnitude 1, held to 0.0001 dB. None: that of
    # each original and a tenth more, whatever its unit is; a step unit is then 1/120 of that:
    range_db: Sequence[float] | None = FULL_RANGE_DB

    def __post_init__(self) -> None:
        range_db = self.range_db
        if range_db is not None and not (len(range_db) == 2 and range_db[0] < range_db[1]):
            raise InputError(
                f"parametrization.range_db={list(range_db)}; expected [least, most] in dB, "
                "such as [-100, 20], or null"
            )
        self.step_unit = "dB" if range_db else "1/120 of its range"
        self._least, self._most = (value * NATURAL_PER_DB for value in range_db or FULL_RANGE_DB)

    def start(self, originals: Originals) -> Start:
        """Return the log-mel of the original, and its limits where they are its own."""
        log_mel = originals.log_mel
        low, high = log_mel.amin((1, 2), keepdim=True), log_mel.amax((1, 2), keepdim=True)
        if self.range_db is None:
            margin = ((high - low) / 10.0).clamp(min=NATURAL_PER_DB)
            least = torch.where(low < 0, low - margin, (low - margin).clamp(min=0.0))
            return originals.start(log_mel, least=least, most=high + margin)
        lowest, highest = torch.stack([low.amin(), high.amax()]).tolist()
        held = self._least <= lowest and highest <= self._most
        if not held and is_other_unit(lowest, highest):
            raise InputError(
                f"log-mels from {lowest:.4g} to {highest:.4g}; expected the natural log of "
                "magnitudes, as the front end LogMel gives it of sounds within full scale "
                f"({_FULL[0]:.4g} to {_FULL[1]:.4g}): convert them (dB / 8.686, or the log of "
                "magnitudes), or give parametrization.range_db=null, which is their own range"
            )
        if _FULL[0] - _BEYOND <= lowest and highest <= _FULL[1] + _BEYOND:
            return originals.start(log_mel)
        least = torch.where(low < _FULL[0], low.clamp(max=self._least), self._least) - _BEYOND
        most = torch.where(high > _FULL[1], high.clamp(min=self._most), self._most) + _BEYOND
        return originals.start(log_mel, least=least, most=most)

    def unit(self, start: Start) -> Tensor:
        """Return 1 dB in natural units, or 1/120 of an item's range, (items, 1, 1)."""
        if self.range_db is None:
            return (start.own["most"] - start.own["least"]) / 120.0
        return one_db(start)

    def signal(self, start: Start, parameters: Tensor) -> Tensor:
        signal = super().signal(start, parameters)
        if start.own:
            return signal.clamp(start.own["least"], start.own["most"])
        # The gradient of torch.clamp takes three times as long as that of hardtanh, which is zero
        # at the limits; so these lie a little outside, and silence at the floor can be changed.
        return F.hardtanh(signal, self._least - _BEYOND, self._most + _BEYOND)


def one_db(start: Start) -> Tensor:
    """Return 1 dB in natural units for each item, (items, 1, 1)."""
    return start.signal.new_full((len(start.signal), 1, 1), NATURAL_PER_DB)


def is_other_unit(lowest: float, highest: float) -> bool:
    """Say whether values cannot be the natural log of magnitudes of a sound."""
    least, most = _LOG_MAGNITUDES
    return not (least <= lowest and highest <= most)


@torch.no_grad()
def full_band(
    path: Path,
    recognizer: Recognizer,
    parametrization: Parametrization,
    original: Tensor,
    signal: Tensor,
    dream: Tensor,
    *,
    offset: float = 0.0,
) -> tuple[Tensor, Tensor, int] | None:
    """Return original and dream at the source's sample rate and in its channels, and the rate.

    A network hears the mean of the channels, up to half its sample rate. What a dream does there
    is done to each channel; above it they stay as they are, but for the level that keeps the
    dream's peak. The low-pass filter of the resampling crossfades between the two in the highest
    tenth of the network's band.

    Args:
        path: of the file that the original is a part of.
        recognizer: that dreamed.
        parametrization: of the dream.
        original: (samples,), at the recognizer's rate.
        signal: of the dream, in the parametrization's own shape.
        dream: (samples,).
        offset: where in the file the original begins, in seconds.

    Returns:
        (channels, samples) each; None where the file is mono and has no higher rate.

    Raises:
        InputError: when the file cannot be read.
    """
    sound, rate_hz = load_channels(path)
    low_hz, samples = recognizer.sample_rate_hz, len(original)
    if len(sound) == 1 and rate_hz <= low_hz:
        return None
    if rate_hz < low_hz:
        sound, rate_hz = resample(sound, from_hz=rate_hz, to_hz=low_hz), low_hz
    sound = sound[:, round(round(offset * low_hz) / low_hz * rate_hz) :]
    sound = sound[:, : round(samples / low_hz * rate_hz)]
    low = resample(sound, from_hz=rate_hz, to_hz=low_hz)[:, :samples]
    mean = low.mean(dim=0)
    level = (original @ mean) / mean.square().sum()  # the original's peak is 1
    sound, low, mean = sound * level, low * level, mean * level
    item = original[None].to(recognizer.device)
    start = parametrization.start(Originals.of(recognizer, item))
    side = (low - mean).to(item)
    changed, level = parametrization.beside(start, signal[None].to(item), side)
    level = level.cpu()
    change = dream + changed.cpu() - level * low
    change = resample(change, from_hz=low_hz, to_hz=rate_hz)[:, : sound.shape[1]]
    return sound, level * sound + change, rate_hz
