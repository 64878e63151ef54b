"""Objectives: what a dream maximizes (see `base`)."""

from irdream.dreaming.objectives.base import (
    Custom,
    ForwardOutput,
    Objective,
    WeightedSum,
    as_objective,
    of_target,
)
from irdream.dreaming.objectives.layers import Channel, Direction, Layer, Neuron
from irdream.dreaming.objectives.likeness import Caricature, Diversity, Inversion
from irdream.dreaming.objectives.outputs import Logit, LogProbability, Margin, Probability
from irdream.dreaming.objectives.smoothness import L1, L2, Blur, TotalVariation

__all__ = [
    "L1",
    "L2",
    "Blur",
    "Caricature",
    "Channel",
    "Custom",
    "Direction",
    "Diversity",
    "ForwardOutput",
    "Inversion",
    "Layer",
    "LogProbability",
    "Logit",
    "Margin",
    "Neuron",
    "Objective",
    "Probability",
    "TotalVariation",
    "WeightedSum",
    "as_objective",
    "of_target",
]
