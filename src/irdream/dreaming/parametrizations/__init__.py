"""Parametrizations: what is dreamed, and how it becomes a log-mel (see `base`)."""

from irdream.dreaming.parametrizations.base import Additive, Parametrization, check_kinds
from irdream.dreaming.parametrizations.fourier import Fourier
from irdream.dreaming.parametrizations.harmonic import Harmonic
from irdream.dreaming.parametrizations.log_mel import LogMel
from irdream.dreaming.parametrizations.low_resolution import LowResolution
from irdream.dreaming.parametrizations.maco import Maco
from irdream.dreaming.parametrizations.sound import StftGain, StftMask, Waveform

__all__ = [
    "Additive", "Fourier", "Harmonic", "LogMel", "LowResolution", "Maco", "Parametrization",
    "StftGain", "StftMask", "Waveform", "check_kinds",
]  # fmt: skip
