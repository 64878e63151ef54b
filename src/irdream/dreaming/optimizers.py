"""How a gradient becomes a step: for each item on its own, of known size or as another says."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from irdream.arguments import Amount, Positive, Share, checked
from irdream.dreaming.batch import Batch, Evaluation, per_item, rows_of
from irdream.dreaming.objectives import Objective
from irdream.errors import InputError, no_class

State = dict[str, Any]
Norm = Literal["rms", "mean_abs", "sign", "none"]
ZeroToOne = Annotated[float, Ge(0), Le(1)]
AboveZeroToOne = Annotated[float, Gt(0), Le(1)]
_RAISE = 0.25  # of the promise that is added where the goal was passed without the confidence
_TINY = 1e-20
_LEAST = 1e-35  # of float32, and such that a step divided by it is finite


class Optimizer(ABC):
    """Takes steps up; see `step`."""

    # An item that has the confidence continues, and the one with the least change is kept:
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
        return rows_of(state, rows)

    @abstractmethod
    def step(self, batch: Batch, seen: Evaluation, state: State) -> Tensor:
        """Return the next parameters (items, ...), and change `state`.

        Args:
            batch: has the present `parameters`, those of the `undreamed` signal, and the size of a
                `step` in the parameters' own unit, (items, 1, ...).
            seen: has the `gradient`, which points up, the `score`, the `goal`, and whether the
                confidence is `reached` now.
            state: as `start` returned it.
        """


@checked
@dataclass(kw_only=True)
class NormalizedAscent(Optimizer):
    """Each step has the length of the step size, whatever the length of the gradient.

    By the norm "rms" the root mean square of the direction is one; by "mean_abs" its mean
    magnitude, as in DeepDream (Mordvintsev et al. 2015); "sign" takes the sign, "none" the gradient
    as it is.
    """

    norm: Norm = "rms"
    # Share of earlier directions, kept before the norm is taken again (Dong et al. 2018):
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0

    def start(self, parameters: Tensor) -> State:
        return {"velocity": torch.zeros_like(parameters)} if self.momentum else {}

    def step(self, batch: Batch, seen: Evaluation, state: State) -> Tensor:
        """Step by the step size; no step where the gradient is zero."""
        gradient, parameters = seen.gradient, batch.parameters
        if self.momentum:
            state["velocity"] = self.momentum * state["velocity"] + normalized(gradient, self.norm)
            gradient = state["velocity"]
        if self.norm in ("sign", "none"):
            return torch.addcmul(parameters, batch.step, normalized(gradient, self.norm))
        return torch.addcmul(parameters, batch.step / size(gradient, self.norm), gradient)

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
        largest = torch.linalg.vector_norm(flat, ord=math.inf, dim=1).clamp(min=_LEAST)
        shares = torch.linalg.vector_norm(flat / largest[:, None], dim=1)
        norms = largest * shares / flat.shape[1] ** 0.5
    return per_item(norms.clamp(min=_LEAST), gradient)


class FromFunction(Optimizer):
    """A function from a gradient (items, ...) to a direction, which is multiplied by the step."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def step(self, batch: Batch, seen: Evaluation, state: State) -> Tensor:
        return batch.parameters + batch.step * self.function(seen.gradient)

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
        chosen = rows.tolist()
        if "optimizer" in state:
            groups = state["optimizer"].param_groups
            state["optimizer"].param_groups = [groups[i] for i in chosen]
        return {**state, "items": [state["items"][i] for i in chosen]}

    def step(self, batch: Batch, seen: Evaluation, state: State) -> Tensor:
        items = state["items"]
        for item, now, up in zip(items, batch.parameters, seen.gradient, strict=True):
            item.data.copy_(now)
            item.grad = -up
        try:
            if "optimizer" not in state:
                rates = batch.step.flatten(1).mean(dim=1).tolist()
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
    if isinstance(made, type) and issubclass(made, torch.optim.Optimizer):
        return TorchOptimizer(optimizer)
    no_class("optimizer", made)
    if callable(optimizer):
        return FromFunction(optimizer)  # type: ignore[arg-type]
    raise InputError(
        f"optimizer={optimizer!r}; expected an irdream optimizer, a class of torch.optim or a "
        "function from gradients to directions"
    )


@checked
@dataclass(kw_only=True)
class MarginStep(Optimizer):
    """The step at whose end the objective, were it straight, would be at its goal.

    DeepFool's rule (Moosavi-Dezfooli, Fawzi and Frossard 2016), toward a confidence instead of a
    border: (goal - score) / |g|^2 * g. It needs an objective with a goal: `margin` is the
    straightest; of several windows `log_probability` gets there sooner. Three things are added:

    - the step size is the longest step, since the objective is straight only nearby;
    - an item remembers which share of the last promise came, and promises accordingly;
    - a share of the step is taken not from where the item is, but from the original to the
      nearest point that promises the goal (as in FAB; Croce and Hein 2020), which undoes what
      earlier steps changed in vain. That share decays, so that items arrive.
    """

    overshoot: Amount = 0.1  # log-odds beyond the confidence that are aimed at, to pass it
    pull: ZeroToOne = 0.3  # the share of the first step that is taken from the original
    decay: ZeroToOne = 0.9  # of that share, from step to step
    least_gain: AboveZeroToOne = 0.4  # the least share of a promise that is believed to come

    def goal(self, objective: Objective, confidence: float | None) -> float:
        """Return the score a little beyond the confidence; refuse an objective that has none."""
        goal = None
        if confidence is not None:
            odds = confidence / (1.0 - confidence) * math.exp(self.overshoot)
            goal = objective.goal(odds / (1.0 + odds))
        if goal is None:
            raise InputError(
                f"optimizer {self!r} needs to know how far the confidence is, which objective "
                f"{objective!r} with dream.confidence={confidence} does not tell; choose "
                "objective=log_probability, probability or margin, and a confidence"
            )
        return goal

    def start(self, parameters: Tensor) -> State:
        zeros = parameters.new_zeros(len(parameters))
        return {"promised": zeros, "before": zeros, "pull": zeros + self.pull, "raised": zeros}

    def step(self, batch: Batch, seen: Evaluation, state: State) -> Tensor:
        assert seen.goal is not None
        gradient = seen.gradient
        missing = seen.goal + state["raised"] - seen.score
        passed = (missing <= 0) & ~seen.reached  # the mean of windows is there, the item is not
        state["raised"] = state["raised"] + torch.where(passed, _RAISE - missing, 0.0)
        missing = torch.where(passed, _RAISE, missing).clamp(min=0.0)

        believed = state["promised"] > 0
        came = (seen.score - state["before"]) / state["promised"].clamp(min=_TINY)
        gain = torch.where(believed, came.clamp(self.least_gain, 1.0), 1.0)

        largest = gradient.flatten(1).abs().amax(dim=1).clamp(min=_TINY)
        direction = gradient / per_item(largest, gradient)  # squares of tiny gradients underflow
        square = direction.flatten(1).square().sum(dim=1).clamp(min=_TINY)
        longest = batch.step.flatten(1).mean(dim=1) * (gradient[0].numel() * square).sqrt()
        promise = torch.minimum(missing / gain / largest, longest)  # over the largest slope
        detail = batch.parameters - batch.undreamed
        had = (direction * detail).flatten(1).sum(dim=1)
        from_here = detail + per_item(promise / square, direction) * direction
        from_undreamed = per_item((promise + had) / square, direction) * direction
        state["promised"], state["before"] = promise * largest, seen.score
        pull, state["pull"] = per_item(state["pull"], detail), state["pull"] * self.decay
        return batch.undreamed + from_here.lerp(from_undreamed, pull)

    def __repr__(self) -> str:
        return f"margin_step(pull={self.pull:g}, decay={self.decay:g})"


@checked
@dataclass(kw_only=True)
class LeastChange(MarginStep):
    """The quietest dream that has the confidence: the root mean square of the change is least.

    Until an item has the confidence it takes margin steps. From then on direction and norm are
    decoupled (DDN; Rony et al. 2019): a step along the gradient, then the change is scaled to a
    norm that is a little smaller than the last one where the item has the confidence, and a
    little larger where it has not. Both, the steps and the shares, get smaller from step to step.
    Of the iterates that have the confidence the one with the least change is kept; an item stops
    after `dream.steps`, or with `dream.patience`.
    """

    refines = True

    shrink: Share = 0.1  # the first share by which the norm is changed
    shrink_decay: AboveZeroToOne = 0.8  # of that share, from step to step
    turn: Positive = 0.3  # the first step along the gradient, as a share of the norm
    turn_decay: AboveZeroToOne = 0.9  # of that share, from step to step

    def start(self, parameters: Tensor) -> State:
        zeros = parameters.new_zeros(len(parameters))
        own = {"norm": zeros, "shrink": zeros + self.shrink, "turn": zeros + self.turn}
        return {**super().start(parameters), **own, "arrived": zeros > 0}

    def step(self, batch: Batch, seen: Evaluation, state: State) -> Tensor:
        """Take a margin step, or one around the sphere of the present norm."""
        toward = super().step(batch, seen, state)
        detail = batch.parameters - batch.undreamed
        norm = torch.where(state["arrived"], state["norm"], _rms(detail))
        arrived = state["arrived"] | seen.reached
        norm = norm * torch.where(seen.reached, 1.0 - state["shrink"], 1.0 + state["shrink"])
        turned = detail + per_item(state["turn"] * norm, detail) * normalized(seen.gradient)
        around = turned * per_item(norm / _rms(turned).clamp(min=_TINY), detail)
        state["norm"], state["arrived"] = norm, arrived
        for name, decay in (("shrink", self.shrink_decay), ("turn", self.turn_decay)):
            state[name] = torch.where(arrived, decay * state[name], state[name])
        return torch.where(per_item(arrived, detail), batch.undreamed + around, toward)

    def __repr__(self) -> str:
        return f"least_change(shrink={self.shrink:g}, turn={self.turn:g})"


def _rms(detail: Tensor) -> Tensor:
    return detail.flatten(1).square().mean(dim=1).sqrt()
