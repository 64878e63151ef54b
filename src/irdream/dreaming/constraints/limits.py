"""Limits of a change: of each bin, of a mel band's values, of the whole; the same loudness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irdream.arguments import Natural, Positive, Several, checked
from irdream.audio.stft import NATURAL_PER_DB, as_many_frames, inverse_stft, stft
from irdream.dreaming.batch import LEAST_MAGNITUDE, Kind, Start
from irdream.dreaming.constraints.base import Constraint
from irdream.dreaming.constraints.masks import mel_basis
from irdream.errors import InputError
from irdream.files import ExistingPath

LEAST_ENERGY = 1e-12  # sum of squares that counts as silence: below 24 bit
INSIDE = 1.0 - 1e-5  # of the threshold, 0.0001 dB, so that no rounding lifts a bin above it
MOST_CHANGE = 100.0  # natural log: e^-100 is silence, e^100 more than any sound


@checked
@dataclass(kw_only=True)
class MaxChange(Constraint):
    """No bin of a spectrogram changes by more than `db`: a ball of the maximum norm."""

    db: Positive
    acts_on = ("spectrogram",)

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        most = self.db * NATURAL_PER_DB
        return limited(signal, original - most, original + most)


@dataclass(kw_only=True, eq=False)
class BandRange(Constraint):
    """The values of a spectrogram's row stay in its range, also where the original's do not.

    Limits are one number, or one for each row: of a log-mel in dB re magnitude 1, of a gain in dB.

    Raises:
        InputError: when the file cannot be used or a range is none; from `prepare`, when there
            are neither one nor as many numbers as rows.
    """

    acts_on = ("spectrogram",)

    least_db: float | Sequence[float] = -100.0
    most_db: float | Sequence[float] = 20.0
    path: ExistingPath | None = None  # of a .npy file with the two, (2, n_mels), used instead

    def __post_init__(self) -> None:
        self.name = "least_db, most_db" if self.path is None else f"path={str(self.path)!r}"
        least, most = (self.least_db, self.most_db) if self.path is None else _read(self.path)
        sizes = np.size(least), np.size(most)
        if len({*sizes} - {1}) > 1:
            raise InputError(
                f"constraint.least_db has {sizes[0]} numbers and most_db {sizes[1]}; expected as "
                "many, or one for all bands"
            )
        least, most = np.broadcast_arrays(np.atleast_1d(least), most)
        empty = np.flatnonzero(~(least < most))  # NaN is found as well
        if len(empty):
            band = empty[0]
            raise InputError(
                f"constraint.{self.name}: {least[band]:g} to {most[band]:g} in "
                f"band {band}; expected the least below the most, such as -100 and 20"
            )
        self.limits_db = {"least": least, "most": most}

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        """Return the two limits in natural log, (items, 1 or rows, 1) each."""
        signal, count = start.signal, len(self.limits_db["least"])
        rows = signal.shape[1]
        if count not in (1, rows):
            raise InputError(
                f"constraint.{self.name} has {count} numbers; expected {rows}, one for each "
                "band of the front end, or a single one"
            )
        return {
            name: signal.new_tensor(db * NATURAL_PER_DB).view(1, -1, 1).repeat(len(signal), 1, 1)
            for name, db in self.limits_db.items()
        }

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        return limited(signal, prepared["least"], prepared["most"])


@checked
@dataclass(kw_only=True)
class RmseBudget(Constraint):
    """The root mean square of a spectrogram's change stays within a budget.

    Where it is too large, all of the change is scaled down alike: a budget of squares is a ball.

    Raises:
        InputError: from `prepare`, when there are neither one nor as many budgets as items.
    """

    db: Several  # the budget; or one for each item of the run
    acts_on = ("spectrogram",)

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        """Return the largest sums of squares, (items,)."""
        items, budget = len(start.signal), start.signal.new_tensor(self.db) * NATURAL_PER_DB
        if budget.ndim and len(budget) not in (1, items):
            raise InputError(
                f"constraint.db has {len(budget)} budgets for {items} items; expected one, or "
                "one for each"
            )
        return {"energy": (budget.square() * start.signal[0].numel()).expand(items)}

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        return scaled_to(signal, original, prepared["energy"])


@dataclass(kw_only=True)
class SnrFloor(Constraint):
    """The signal-to-noise ratio of the sound, the change being the noise, stays above a floor.

    In digital silence any change has a ratio of minus infinity, so nothing changes there that
    could be written to a file of 24 bits.
    """

    db: float  # the least ratio, 10 log10(sum x^2 / sum (dream - x)^2)
    acts_on = ("sound",)

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        """Return the largest energy of a change, (items,)."""
        energy = start.waveform_for(self).square().sum(dim=1)
        return {"energy": (energy * 10.0 ** (-self.db / 10.0)).clamp(min=LEAST_ENERGY)}

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        return scaled_to(signal, original, prepared["energy"])


class LoudnessLock(Constraint):
    """The dream keeps the original's energy, by one gain for the whole item.

    The energy of a spectrogram is the sum of its squared magnitudes (of a gain: after the gain),
    that of a sound the sum of its squares, so that its root mean square is kept. That is its
    level: no ear's weighting, not LUFS.
    """

    acts_on = ("spectrogram", "sound")

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        """Return the energy, (items,), of a spectrogram in natural log; the level under a gain."""
        if kind == "sound":
            return {"energy": _energy(start.waveform_for(self))}
        under = {} if start.spectrum is None else {"level": start.level}
        return {"energy": _log_energy(start.level)} | under

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        if signal.ndim == 2:
            return signal * (prepared["energy"] / _energy(signal)).sqrt()[:, None]
        now = _log_energy(signal + prepared["level"] if "level" in prepared else signal)
        return signal + 0.5 * (prepared["energy"] - now)[:, None, None]


@checked
@dataclass(kw_only=True)
class MaskingProjection(Constraint):
    """The change stays below what the original masks (`irdream.audio.masking`).

    On a spectrogram the magnitude of the change is that of the original times abs(e^c - 1), c being
    what was added in natural log. A gain on bins is held to the bins' threshold; a mel band to the
    sum of its bins' thresholds (as magnitudes), weighed as the front end does: a band may hide a
    change in one of its bins. On a sound the spectrum of the change is cut to the threshold and
    inverted, some times in turn; what is then left above is removed by scaling the item's change.
    Three rounds, with their gradient, take about 25 ms for 3 s on one core; more of them keep more
    of a large change.
    """

    margin_db: float = 0.0  # how far below the threshold the change stays; negative: above
    rounds: Natural = 3  # of cutting and inverting, for a sound
    full_scale_db: float | None = None  # dB SPL of a sine of amplitude 1; None: loudest bin is 96
    acts_on = ("spectrogram", "sound")

    def prepare(self, start: Start, kind: Kind) -> dict[str, Any]:
        """Return the largest magnitude of a change in each bin, or the limits of a spectrogram."""
        share = INSIDE * 10.0 ** (-self.margin_db / 20.0)
        magnitude = (share * start.masked_for(self).sqrt()).clamp(min=LEAST_MAGNITUDE)
        if kind == "sound":
            return {"most": magnitude, "frontend": start.recognizer.stft_grid}
        if start.spectrum is None:
            magnitude = torch.matmul(mel_basis(start.recognizer).to(magnitude.dtype), magnitude)
        share = as_many_frames(magnitude, start.signal.shape[-1]) / start.level.exp()
        down = torch.log1p(-share.clamp(max=1.0)).clamp(min=-MOST_CHANGE)
        up = torch.log1p(share).clamp(max=MOST_CHANGE)
        return {"down": start.signal + down, "up": start.signal + up}

    def __call__(self, signal: Tensor, original: Tensor, prepared: dict[str, Any]) -> Tensor:
        if signal.ndim == 3:
            return limited(signal, prepared["down"], prepared["up"])
        most, frontend = prepared["most"], prepared["frontend"]
        for _ in range(self.rounds):
            spectrum = stft(signal - original, frontend)
            above = 1.0 - most / torch.maximum(spectrum.abs(), most)
            signal = signal - inverse_stft(spectrum * above, frontend, samples=signal.shape[-1])
        magnitude = stft(signal - original, frontend).abs()
        largest = (magnitude / most).amax(dim=(1, 2)).clamp(min=1.0)
        return original.lerp(signal, largest.reciprocal()[:, None])


def limited(signal: Tensor, least: Tensor | float, most: Tensor | float) -> Tensor:
    """Return the signal between two limits; what lies outside goes a few roundings inside.

    Kept at its limit as a difference to the original and added up again, a value could come out
    beyond it, where a clamp has no gradient: the ascent could never move it again.
    """
    room = 64 * torch.finfo(signal.dtype).eps
    inside = (signal >= least) & (signal <= most)
    return torch.where(inside, signal, signal.clamp(least + room, most - room))  # type: ignore[arg-type]


def scaled_to(signal: Tensor, original: Tensor, energy: Tensor) -> Tensor:
    """Scale `signal - original` down to sums of squares of at most `energy` (items,), above 0."""
    change = (signal - original).square().flatten(1).sum(dim=1)
    scale = (energy / torch.maximum(change, energy)).sqrt()  # exactly 1 within the budget
    return original.lerp(signal, scale.view(-1, *[1] * (signal.ndim - 1)))  # exact at 0 and at 1


def _energy(sound: Tensor) -> Tensor:
    return sound.square().sum(dim=1).clamp(min=LEAST_ENERGY)


def _log_energy(level: Tensor) -> Tensor:
    return (2.0 * level).flatten(1).logsumexp(dim=1)


def _read(path: str | Path) -> np.ndarray:
    try:
        limits = np.load(Path(path).expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"constraint.path={str(path)!r} cannot be read ({error}); expected a .npy file as "
            "numpy.save writes it"
        ) from error
    if not (isinstance(limits, np.ndarray) and limits.ndim == 2 and len(limits) == 2):
        raise InputError(
            f"constraint.path={str(path)!r} holds {getattr(limits, 'shape', 'no array')}; "
            "expected (2, n_mels): the least and the most of each band, in dB"
        )
    return limits.astype(np.float64)
