"""Parametrizations: what is dreamed, and how it becomes a log-mel that is heard (see `base`)."""

from irdream.dreaming.parametrizations.base import Additive, Parametrization
from irdream.dreaming.parametrizations.fourier import Fourier
from irdream.dreaming.parametrizations.log_mel import LogMel
from irdream.dreaming.parametrizations.low_resolution import LowResolution
from irdream.dreaming.parametrizations.maco import Maco
from irdream.dreaming.parametrizations.stft_gain import StftGain
from irdream.dreaming.parametrizations.waveform import Waveform

__all__ = [
    "Additive",
    "Fourier",
    "LogMel",
    "LowResolution",
    "Maco",
    "Parametrization",
    "StftGain",
    "Waveform",
]
