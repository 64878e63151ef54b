"""Steps of known size: the gradient is normalized for each item."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from irdream.arguments import checked
from irdream.dreaming.batch import per_item
from irdream.dreaming.optimizers.base import Optimizer, State, StepContext

Norm = Literal["rms", "mean_abs", "sign", "none"]
_TINY = 1e-35  # of float32, and such that a step divided by it is finite


@checked
class NormalizedAscent(Optimizer):
    """Each step has the step size, whatever the gradient's.

    Args:
        norm: "rms": the root mean square of the direction is one; "mean_abs": its mean
            magnitude is one, as in DeepDream (Mordvintsev et al. 2015); "sign": the sign;
            "none": the gradient as it is.
        momentum: share of the earlier directions that is kept before the norm is taken again,
            0 to below 1 (Dong et al. 2018).
    """

    def __init__(
        self, *, norm: Norm = "rms", momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    ) -> None:
        self.norm: Norm = norm
        self.momentum = momentum

    def start(self, parameters: Tensor) -> State:
        """Begin without velocity."""
        return {"velocity": torch.zeros_like(parameters)} if self.momentum else {}

    def step(
        self, parameters: Tensor, gradient: Tensor, context: StepContext, state: State
    ) -> Tensor:
        """Step by the step size; no step where the gradient is zero."""
        if self.momentum:
            state["velocity"] = self.momentum * state["velocity"] + normalized(gradient, self.norm)
            gradient = state["velocity"]
        if self.norm in ("sign", "none"):
            return torch.addcmul(parameters, context.step, normalized(gradient, self.norm))
        return torch.addcmul(parameters, context.step / size(gradient, self.norm), gradient)

    def __repr__(self) -> str:
        return f"normalized_ascent({self.norm}{f', {self.momentum:g}' if self.momentum else ''})"


def normalized(gradient: Tensor, norm: Norm = "rms") -> Tensor:
    """Return gradients (items, ...) of norm one; zero where the gradient is zero."""
    if norm == "none":
        return gradient
    if norm == "sign":
        return gradient.sign()
    return gradient / size(gradient, norm)


def size(gradient: Tensor, norm: Norm = "rms") -> Tensor:
    """Return by what gradients (items, ...) are divided to have norm one, (items, 1, ...)."""
    flat = gradient.flatten(1)
    if norm == "mean_abs":
        norms = torch.linalg.vector_norm(flat, ord=1, dim=1) / flat.shape[1]
    else:  # of the largest value, since the squares of tiny gradients underflow
        largest = torch.linalg.vector_norm(flat, ord=math.inf, dim=1).clamp(min=_TINY)
        shares = torch.linalg.vector_norm(flat / largest[:, None], dim=1)
        norms = largest * shares / flat.shape[1] ** 0.5
    return per_item(norms.clamp(min=_TINY), gradient)
