"""Constraints: what a dream must obey (see `base`)."""

from irdream.dreaming.constraints.base import (
    Consistency,
    Constraint,
    Constraints,
    listed,
    with_consistency,
)
from irdream.dreaming.constraints.limits import (
    BandRange,
    LoudnessLock,
    MaskingProjection,
    MaxChange,
    RmseBudget,
    SnrFloor,
)
from irdream.dreaming.constraints.masks import (
    FrequencyBand,
    Harmonic,
    OnlyLoud,
    Percussive,
    TimeRange,
)

__all__ = [
    "BandRange", "Consistency", "Constraint", "Constraints", "FrequencyBand", "Harmonic",
    "LoudnessLock", "MaskingProjection", "MaxChange", "OnlyLoud", "Percussive", "RmseBudget",
    "SnrFloor", "TimeRange", "listed", "with_consistency",
]  # fmt: skip
