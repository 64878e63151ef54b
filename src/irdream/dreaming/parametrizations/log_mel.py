"""Dreaming the log-mel spectrogram itself, as the paper did.

The dream is no sound yet: a sonification has to find one, and the recognizer must be asked
again about what was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.recognizer import Recognizer

NATURAL_PER_DB = math.log(10.0) / 20.0


class LogMel:
    """The signal is the log-mel (items, n_mels, frames), natural log of the magnitude.

    Args:
        range_db: least and largest value of a dream, in dB re magnitude 1. The default is
            from the front end's floor to the loudest band that a full-scale sine can give.
    """

    step_unit = "dB"

    def __init__(self, *, range_db: Sequence[float] = (-100.0, 20.0)) -> None:
        if not (len(range_db) == 2 and range_db[0] < range_db[1]):
            raise InputError(
                f"parametrization.range_db={list(range_db)}; expected [least, most] in dB, "
                "such as [-100, 20]"
            )
        self.range_db = tuple(range_db)

    def start(self, recognizer: Recognizer, waveform: Tensor) -> Tensor:
        """Return the log-mel of the original."""
        return recognizer.log_mel(waveform)

    def step(self, signal: Tensor, step_size: float) -> Tensor:
        """Return a step of `step_size` dB in natural units, the same for all items."""
        return torch.full((len(signal), 1, 1), step_size * NATURAL_PER_DB, device=signal.device)

    def constrain(self, signal: Tensor) -> Tensor:
        """Clip to the range."""
        return signal.clamp(self.range_db[0] * NATURAL_PER_DB, self.range_db[1] * NATURAL_PER_DB)

    def log_mel(self, recognizer: Recognizer, signal: Tensor) -> Tensor:
        """Return the signal."""
        return signal

    def waveform(self, signal: Tensor) -> None:
        """Return nothing: a log-mel is no sound."""
        return None
