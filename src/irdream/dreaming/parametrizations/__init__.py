"""Parametrizations: what is dreamed, and how it becomes a log-mel (see `base`)."""

from irdream.dreaming.parametrizations.base import Additive, LogMel, Parametrization, check_kinds
from irdream.dreaming.parametrizations.fourier import Fourier, Maco
from irdream.dreaming.parametrizations.low_resolution import LowResolution
from irdream.dreaming.parametrizations.sound import Harmonic, StftGain, StftMask, Waveform

__all__ = [
    "Additive", "Fourier", "Harmonic", "LogMel", "LowResolution", "Maco", "Parametrization",
    "StftGain", "StftMask", "Waveform", "check_kinds",
]  # fmt: skip
