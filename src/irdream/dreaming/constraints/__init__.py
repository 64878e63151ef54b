"""Constraints: what a dream must obey in every step (see `base`)."""

from irdream.dreaming.constraints.band_range import BandRange
from irdream.dreaming.constraints.base import Constraint, Constraints
from irdream.dreaming.constraints.budgets import RmseBudget, SnrFloor
from irdream.dreaming.constraints.harmonic import Harmonic, Percussive
from irdream.dreaming.constraints.loudness import LoudnessLock
from irdream.dreaming.constraints.masking import MaskingProjection
from irdream.dreaming.constraints.masks import FrequencyBand, OnlyLoud, TimeRange
from irdream.dreaming.constraints.max_change import MaxChange

__all__ = [
    "BandRange",
    "Constraint",
    "Constraints",
    "FrequencyBand",
    "Harmonic",
    "LoudnessLock",
    "MaskingProjection",
    "MaxChange",
    "OnlyLoud",
    "Percussive",
    "RmseBudget",
    "SnrFloor",
    "TimeRange",
]
