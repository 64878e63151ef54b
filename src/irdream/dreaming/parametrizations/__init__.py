"""Parametrizations: what is dreamed, and how it becomes a log-mel (see `base`)."""

from irdream.dreaming.parametrizations.base import Additive, LogMel, Parametrization, check_kinds
from irdream.dreaming.parametrizations.sound import Harmonic, StftGain, StftMask, Waveform
from irdream.dreaming.parametrizations.wrappers import Fourier, LowResolution, Maco

__all__ = [
    "Additive", "Fourier", "Harmonic", "LogMel", "LowResolution", "Maco", "Parametrization",
    "StftGain", "StftMask", "Waveform", "check_kinds",
]  # fmt: skip
