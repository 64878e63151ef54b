"""Steps that are sized by how far the confidence still is, for each item on its own.

They need an objective with a goal, the score at which the confidence is reached. Of these
`margin` is the straightest, and gets there in the fewest steps where an item is one window; of
several windows `log_probability` pulls the lowest hardest, and gets there sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from irdream.arguments import Amount, Positive, Share, checked
from irdream.dreaming.batch import per_item
from irdream.dreaming.objectives import Objective
from irdream.dreaming.optimizers.base import Optimizer, State, StepContext, normalized
from irdream.errors import InputError

ZeroToOne = Annotated[float, Ge(0), Le(1)]
AboveZeroToOne = Annotated[float, Gt(0), Le(1)]
_TINY = 1e-20
_RAISE = 0.25  # of the promise that is added where the goal was passed without the confidence


@checked
@dataclass(kw_only=True)
class MarginStep(Optimizer):
    """The step at whose end the objective, were it straight, would be at its goal.

    DeepFool's rule (Moosavi-Dezfooli, Fawzi and Frossard 2016), toward a confidence instead of a
    border: (goal - score) / |g|^2 * g. Three things are added:

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

    def step(
        self, parameters: Tensor, gradient: Tensor, context: StepContext, state: State
    ) -> Tensor:
        assert context.goal is not None
        missing = context.goal + state["raised"] - context.score
        passed = (missing <= 0) & ~context.reached  # the mean of windows is there, the item is not
        state["raised"] = state["raised"] + torch.where(passed, _RAISE - missing, 0.0)
        missing = torch.where(passed, _RAISE, missing).clamp(min=0.0)

        believed = state["promised"] > 0
        came = (context.score - state["before"]) / state["promised"].clamp(min=_TINY)
        gain = torch.where(believed, came.clamp(self.least_gain, 1.0), 1.0)

        largest = gradient.flatten(1).abs().amax(dim=1).clamp(min=_TINY)
        direction = gradient / per_item(largest, gradient)  # squares of tiny gradients underflow
        square = direction.flatten(1).square().sum(dim=1).clamp(min=_TINY)
        longest = context.step.flatten(1).mean(dim=1) * (gradient[0].numel() * square).sqrt()
        promise = torch.minimum(missing / gain / largest, longest)  # over the largest slope
        detail = parameters - context.undreamed
        had = (direction * detail).flatten(1).sum(dim=1)
        from_here = detail + per_item(promise / square, direction) * direction
        from_undreamed = per_item((promise + had) / square, direction) * direction
        state["promised"], state["before"] = promise * largest, context.score
        pull, state["pull"] = per_item(state["pull"], detail), state["pull"] * self.decay
        return context.undreamed + from_here.lerp(from_undreamed, pull)

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

    def step(
        self, parameters: Tensor, gradient: Tensor, context: StepContext, state: State
    ) -> Tensor:
        """Take a margin step, or one around the sphere of the present norm."""
        toward = super().step(parameters, gradient, context, state)
        detail = parameters - context.undreamed
        norm = torch.where(state["arrived"], state["norm"], _rms(detail))
        arrived = state["arrived"] | context.reached
        norm = norm * torch.where(context.reached, 1.0 - state["shrink"], 1.0 + state["shrink"])
        turned = detail + per_item(state["turn"] * norm, detail) * normalized(gradient)
        around = turned * per_item(norm / _rms(turned).clamp(min=_TINY), detail)
        state["norm"], state["arrived"] = norm, arrived
        for name, decay in (("shrink", self.shrink_decay), ("turn", self.turn_decay)):
            state[name] = torch.where(arrived, decay * state[name], state[name])
        return torch.where(per_item(arrived, detail), context.undreamed + around, toward)

    def __repr__(self) -> str:
        return f"least_change(shrink={self.shrink:g}, turn={self.turn:g})"


def _rms(detail: Tensor) -> Tensor:
    return detail.flatten(1).square().mean(dim=1).sqrt()
