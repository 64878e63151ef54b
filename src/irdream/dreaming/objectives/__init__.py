"""Objectives: what a dream maximizes (see `base`)."""

from irdream.dreaming.objectives.base import (
    Custom,
    ForwardOutput,
    Objective,
    WeightedSum,
    as_objective,
    of_target,
)
from irdream.dreaming.objectives.layers import (
    Caricature,
    Channel,
    Direction,
    Diversity,
    Inversion,
    Layer,
    Neuron,
)
from irdream.dreaming.objectives.scores import (
    L1,
    L2,
    Blur,
    Complement,
    Logit,
    LogProbability,
    Margin,
    MaskingPenalty,
    MeanGain,
    Probability,
    TotalVariation,
)

__all__ = [
    "L1", "L2", "Blur", "Caricature", "Channel", "Complement", "Custom", "Direction", "Diversity",
    "ForwardOutput", "Inversion", "Layer", "LogProbability", "Logit", "Margin", "MaskingPenalty",
    "MeanGain", "Neuron", "Objective", "Probability", "TotalVariation", "WeightedSum",
    "as_objective",
    "of_target",
]  # fmt: skip
