"""Dreaming the log-mel spectrogram itself, as the paper did.

The dream is no sound yet: a sonification has to find one, and the recognizer must be asked
again about what was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.dreaming.parametrizations.base import Additive, Origin
from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.stft import band_shares, inverse_stft, stft

NATURAL_PER_DB = math.log(10.0) / 20.0
_BEYOND = 2e-6  # natural log: two roundings of a float32 at the floor


class LogMel(Additive):
    """The signal is the log-mel (items, n_mels, frames), natural log of the magnitude.

    Args:
        range_db: least and largest value of a dream, in dB re magnitude 1, held to 0.0001 dB. The
            default is from the front end's floor to the loudest band of a full-scale sine.

    Raises:
        InputError: when the range is none.
    """

    step_unit = "dB"
    acts_on: Literal["plane", "sound"] = "plane"

    def __init__(self, *, range_db: Sequence[float] = (-100.0, 20.0)) -> None:
        if not (len(range_db) == 2 and range_db[0] < range_db[1]):
            raise InputError(
                f"parametrization.range_db={list(range_db)}; expected [least, most] in dB, "
                "such as [-100, 20]"
            )
        self.range_db = tuple(range_db)
        self._least, self._most = (value * NATURAL_PER_DB for value in range_db)

    def start(self, recognizer: Recognizer, origin: Origin) -> Origin:
        """Return the log-mel of the original."""
        return {"signal": origin["log_mel"]}

    def unit(self, origin: Origin) -> Tensor:
        """Return 1 dB in natural units, the same for all items."""
        return origin["signal"].new_full((len(origin["signal"]), 1, 1), NATURAL_PER_DB)

    def signal(self, origin: Origin, parameters: Tensor) -> Tensor:
        """Return the dream, clipped to the range."""
        # The gradient of torch.clamp takes three times as long as that of hardtanh, which is zero
        # at the limits; so these lie a little outside, and silence at the floor can be changed.
        signal = super().signal(origin, parameters)
        return F.hardtanh(signal, self._least - _BEYOND, self._most + _BEYOND)

    def consistent(self, recognizer: Recognizer, origin: Origin, signal: Tensor) -> Tensor:
        """Return the log-mel of the original's spectrum with the dream's gain (`sonification`)."""
        frontend, waveform = recognizer.frontend, origin["waveform"]
        gain = band_shares(cast(Tensor, frontend.mel_basis)) @ (signal - origin["log_mel"])
        spectrum = stft(waveform, frontend)
        missing = spectrum.shape[-1] - gain.shape[-1]
        gain = torch.cat([gain, gain[..., -1:].expand(-1, -1, missing)], dim=-1)
        sound = inverse_stft(spectrum * gain.exp(), frontend, samples=waveform.shape[-1])
        return recognizer.log_mel(sound)

    def log_mel(
        self, recognizer: Recognizer, origin: Origin, signal: Tensor, waveform: Tensor | None
    ) -> Tensor:
        """Return the signal."""
        return signal
