"""How a gradient becomes a step: for each item on its own."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from irdream.errors import InputError

State = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What an optimizer may know of the items besides their gradients.

    Attributes:
        score: the objective, (items,).
        goal: the objective at which the confidence is reached; None where that cannot be said.
        reached: whether the items have the confidence now, (items,).
        origin: the parameters of the undreamed signal.
        unit: one unit of the step size, in the parameters' own, (items, 1, ...).
        step: unit times step size, (items, 1, ...).
    """

    score: Tensor
    goal: float | None
    reached: Tensor
    origin: Tensor
    unit: Tensor
    step: Tensor


class Optimizer(ABC):
    """Takes steps up; see `step`.

    Attributes:
        seeks_least_change: an item that reached the confidence goes on, and of the iterates
            that have it the one with the least change is kept.
        needs_goal: it can work only on an objective whose goal is known.
        overshoot: log-odds by which its goal lies beyond the confidence.
    """

    seeks_least_change: bool = False
    needs_goal: bool = False
    overshoot: float = 0.0

    def start(self, parameters: Tensor) -> State:
        """Return what to remember at an octave's begin; tensors with an axis of items."""
        return {}

    def pick(self, state: State, rows: Tensor) -> State:
        """Return the state of some items."""
        return {name: values[rows] for name, values in state.items()}

    @abstractmethod
    def step(
        self, parameters: Tensor, gradient: Tensor, context: StepContext, state: State
    ) -> Tensor:
        """Return the next parameters, and change `state`.

        Args:
            parameters, gradient: (items, ...); the gradient is that of the objective.
            context: of the same items.
            state: of the same items.
        """


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

    Its learning rate is the step size in the parameters' own unit, whatever it was made with.

    Args:
        factory: parameters -> torch.optim.Optimizer; a class, or a functools.partial of one.
    """

    def __init__(self, factory: Callable[..., torch.optim.Optimizer]) -> None:
        self.factory = factory

    def start(self, parameters: Tensor) -> State:
        """Make the optimizer when the first step is taken, since it needs the step sizes."""
        return {"items": [torch.nn.Parameter(item.clone()) for item in parameters]}

    def pick(self, state: State, rows: Tensor) -> State:
        """Take the other items from the optimizer."""
        chosen = rows.tolist()
        picked = {**state, "items": [state["items"][i] for i in chosen]}
        if "optimizer" in state:
            optimizer = state["optimizer"]
            optimizer.param_groups = [optimizer.param_groups[i] for i in chosen]
        return picked

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
                state["optimizer"] = self._made(items, context.step)
            state["optimizer"].step()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"optimizer {_name(self.factory)} cannot dream ({error}); expected one that needs "
                "no closure, such as Adam"
            ) from error
        return torch.stack([item.detach() for item in items])

    def _made(self, items: list[Tensor], step: Tensor) -> torch.optim.Optimizer:
        """Return the optimizer, with a group of parameters for each item."""
        rates = step.flatten(1).mean(dim=1).tolist()
        groups = [{"params": [x], "lr": lr} for x, lr in zip(items, rates, strict=True)]
        optimizer = self.factory(groups)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate  # not the partial's own
        return optimizer

    def __repr__(self) -> str:
        return _name(self.factory)


def as_optimizer(optimizer: Any) -> Optimizer:
    """Return an optimizer from one, from a torch.optim class or partial, or from a function.

    Raises:
        InputError: for what is none of these.
    """
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


def _name(factory: Any) -> str:
    made = factory.func if isinstance(factory, functools.partial) else factory
    return getattr(made, "__name__", repr(made))
