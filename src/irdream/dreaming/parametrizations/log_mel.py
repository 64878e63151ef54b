"""Dreaming the log-mel spectrogram itself, as the paper did.

The dream is no sound: a sonification has to find one, and the recognizer has to be asked again
about that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.dreaming.batch import Originals, Start
from irdream.dreaming.parametrizations.base import Additive
from irdream.errors import InputError
from irdream.recognizer import Recognizer

NATURAL_PER_DB = math.log(10.0) / 20.0
FULL_RANGE_DB = (-100.0, 20.0)  # from the floor to the loudest band of a full-scale sine
_FULL = tuple(value * NATURAL_PER_DB for value in FULL_RANGE_DB)
_LOG_MAGNITUDES = (-30.0, 8.0)  # natural log: what lies beyond is in another unit
_BEYOND = 2e-6  # natural log: two roundings of a float32 at the floor


@dataclass(frozen=True, kw_only=True)
class _Start(Start):
    least: Tensor | None = None  # (items, 1, 1) each, where an item has a range of its own
    most: Tensor | None = None


class LogMel(Additive[_Start]):
    """The signal is the log-mel (items, n_mels, frames), natural log of the magnitude.

    Values of an original that lie outside -100 to 20 dB widen its range, so that it is dreamed
    as it is.

    Args:
        range_db: least and largest value of a dream, in dB re magnitude 1, held to 0.0001 dB. The
            default is from the front end's floor to the loudest band of a full-scale sine. None:
            that of each original and a tenth more, whatever its unit is; a step unit is then
            1/120 of that.

    Raises:
        InputError: when the range is none; by `start`: when an original is no log of a magnitude.
    """

    kinds = ("spectrogram",)

    def __init__(self, *, range_db: Sequence[float] | None = FULL_RANGE_DB) -> None:
        if range_db is not None and not (len(range_db) == 2 and range_db[0] < range_db[1]):
            raise InputError(
                f"parametrization.range_db={list(range_db)}; expected [least, most] in dB, "
                "such as [-100, 20], or null"
            )
        self.range_db = None if range_db is None else tuple(range_db)
        self.step_unit = "dB" if range_db else "1/120 of its range"
        self._least, self._most = (value * NATURAL_PER_DB for value in range_db or FULL_RANGE_DB)

    def start(self, recognizer: Recognizer, originals: Originals) -> _Start:
        """Return the log-mel of the original, and its limits where they are its own."""
        log_mel = originals.log_mel
        low, high = log_mel.amin((1, 2), keepdim=True), log_mel.amax((1, 2), keepdim=True)
        if self.range_db is None:
            margin = ((high - low) / 10.0).clamp(min=NATURAL_PER_DB)
            least = torch.where(low < 0, low - margin, (low - margin).clamp(min=0.0))
            return _Start(**vars(originals), signal=log_mel, least=least, most=high + margin)
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
            return _Start(**vars(originals), signal=log_mel)
        least = torch.where(low < _FULL[0], low.clamp(max=self._least), self._least) - _BEYOND
        most = torch.where(high > _FULL[1], high.clamp(min=self._most), self._most) + _BEYOND
        return _Start(**vars(originals), signal=log_mel, least=least, most=most)

    def unit(self, start: _Start) -> Tensor:
        """Return 1 dB in natural units, or 1/120 of an item's range, (items, 1, 1)."""
        if self.range_db is None and start.least is not None and start.most is not None:
            return (start.most - start.least) / 120.0
        return start.signal.new_full((len(start.signal), 1, 1), NATURAL_PER_DB)

    def signal(self, start: _Start, parameters: Tensor) -> Tensor:
        signal = super().signal(start, parameters)
        if start.least is not None:
            return signal.clamp(start.least, start.most)
        # The gradient of torch.clamp takes three times as long as that of hardtanh, which is zero
        # at the limits; so these lie a little outside, and silence at the floor can be changed.
        return F.hardtanh(signal, self._least - _BEYOND, self._most + _BEYOND)


def is_other_unit(lowest: float, highest: float) -> bool:
    """Say whether values cannot be the natural log of magnitudes of a sound."""
    least, most = _LOG_MAGNITUDES
    return not (least <= lowest and highest <= most)
