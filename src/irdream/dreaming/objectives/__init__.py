"""Objectives: what a dream maximizes (see `scores`)."""

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
    Custom,
    ForwardOutput,
    Logit,
    LogProbability,
    Margin,
    MaskingPenalty,
    MeanGain,
    Objective,
    Probability,
    TotalVariation,
    WeightedSum,
    as_objective,
    of_target,
)

__all__ = [
    "L1", "L2", "Blur", "Caricature", "Channel", "Complement", "Custom", "Direction", "Diversity",
    "ForwardOutput", "Inversion", "Layer", "LogProbability", "Logit", "Margin", "MaskingPenalty",
    "MeanGain", "Neuron", "Objective", "Probability", "TotalVariation", "WeightedSum",
    "as_objective",
    "of_target",
]  # fmt: skip
