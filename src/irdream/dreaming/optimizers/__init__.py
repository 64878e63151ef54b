"""Optimizers: how a gradient becomes a step (see `base`)."""

from irdream.dreaming.optimizers.adaptive import LeastChange, MarginStep
from irdream.dreaming.optimizers.base import (
    FromFunction,
    Norm,
    NormalizedAscent,
    Optimizer,
    State,
    StepContext,
    TorchOptimizer,
    as_optimizer,
    normalized,
)

__all__ = [
    "FromFunction", "LeastChange", "MarginStep", "Norm", "NormalizedAscent", "Optimizer", "State",
    "StepContext", "TorchOptimizer", "as_optimizer", "normalized",
]  # fmt: skip
