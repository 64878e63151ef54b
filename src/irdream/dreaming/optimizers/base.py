"""How a gradient becomes a step: for each item on its own."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from irdream.dreaming.batch import rows_of
from irdream.dreaming.objectives import Objective
from irdream.errors import InputError

State = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What an optimizer may know of the items besides their gradients.

    Attributes:
        score: the objective, (items,).
        goal: what the optimizer's own `goal` returned.
        reached: whether the items have the confidence now, (items,).
        undreamed: the parameters of the undreamed signal.
        step: the step size in the parameters' own unit, (items, 1, ...).
    """

    score: Tensor
    goal: float | None
    reached: Tensor
    undreamed: Tensor
    step: Tensor


class Optimizer(ABC):
    """Takes steps up; see `step`.

    Attributes:
        refines: an item that has the confidence continues, and of the iterates that have it the
            one with the least change is kept.
    """

    refines: bool = False

    def goal(self, objective: Objective, confidence: float | None) -> float | None:
        """Return the score that is aimed at, where one is; called once, before the first step.

        `confidence` is None where items do not stop, or nothing reads the output.
        """
        return None

    def start(self, parameters: Tensor) -> State:
        """Return what to remember when an octave begins; tensors with an axis of items."""
        return {}

    def pick(self, state: State, rows: Tensor) -> State:
        """Return the state of some items."""
        return rows_of(state, rows)

    @abstractmethod
    def step(
        self, parameters: Tensor, gradient: Tensor, context: StepContext, state: State
    ) -> Tensor:
        """Return the next parameters (items, ...), and change `state`; the gradient points up."""


class FromFunction(Optimizer):
    """A function from a gradient (items, ...) to a direction, which is multiplied by the step."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def step(
        self, parameters: Tensor, gradient: Tensor, context: StepContext, state: State
    ) -> Tensor:
        """Step in the direction."""
        return parameters + context.step * self.function(gradient)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


class TorchOptimizer(Optimizer):
    """Any optimizer of torch.optim that needs no closure, with one tensor an item.

    `factory` makes one of parameters; its learning rate is the step size in the parameters' own
    unit.
    """

    def __init__(self, factory: Callable[..., torch.optim.Optimizer]) -> None:
        self.factory = factory

    def start(self, parameters: Tensor) -> State:
        """Return the items; the optimizer is made by the first step, which knows the step sizes."""
        return {"items": [torch.nn.Parameter(item.clone()) for item in parameters]}

    def pick(self, state: State, rows: Tensor) -> State:
        """Take the other items from the optimizer."""
        chosen = rows.tolist()
        if "optimizer" in state:
            groups = state["optimizer"].param_groups
            state["optimizer"].param_groups = [groups[i] for i in chosen]
        return {**state, "items": [state["items"][i] for i in chosen]}

    def step(
        self, parameters: Tensor, gradient: Tensor, context: StepContext, state: State
    ) -> Tensor:
        """Let the optimizer step up."""
        items = state["items"]
        for item, now, up in zip(items, parameters, gradient, strict=True):
            item.data.copy_(now)
            item.grad = -up
        try:
            if "optimizer" not in state:
                rates = context.step.flatten(1).mean(dim=1).tolist()
                state["optimizer"] = self.factory([{"params": [item]} for item in items])
                for group, rate in zip(state["optimizer"].param_groups, rates, strict=True):
                    group["lr"] = rate
            state["optimizer"].step()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"optimizer {self!r} cannot dream ({error}); expected one that needs no closure, "
                "such as Adam"
            ) from error
        return torch.stack([item.detach() for item in items])

    def __repr__(self) -> str:
        made = self.factory.func if isinstance(self.factory, functools.partial) else self.factory
        return getattr(made, "__name__", repr(made))


def as_optimizer(optimizer: Any) -> Optimizer:
    """Return an optimizer from one, from a torch.optim class or partial, or from a function."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    made = optimizer.func if isinstance(optimizer, functools.partial) else optimizer
    if isinstance(made, type) and issubclass(made, Optimizer):
        raise InputError(f"optimizer={made.__name__} is a class; expected {made.__name__}(...)")
    if isinstance(made, type) and issubclass(made, torch.optim.Optimizer):
        return TorchOptimizer(optimizer)
    if callable(optimizer):
        return FromFunction(optimizer)  # type: ignore[arg-type]
    raise InputError(
        f"optimizer={optimizer!r}; expected an irdream optimizer, a class of torch.optim or a "
        "function from gradients to directions"
    )
