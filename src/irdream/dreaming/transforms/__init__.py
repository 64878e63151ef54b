"""Transforms: random views of a log-mel before it is heard (see `base`)."""

from irdream.dreaming.transforms.base import Chain, Transform
from irdream.dreaming.transforms.frequency_shift import FrequencyShift
from irdream.dreaming.transforms.jitter import Jitter, with_jitter
from irdream.dreaming.transforms.level import Gain, Noise
from irdream.dreaming.transforms.mask import FrequencyMask, TimeMask
from irdream.dreaming.transforms.scale import Scale

__all__ = [
    "Chain",
    "FrequencyMask",
    "FrequencyShift",
    "Gain",
    "Jitter",
    "Noise",
    "Scale",
    "TimeMask",
    "Transform",
    "with_jitter",
]
