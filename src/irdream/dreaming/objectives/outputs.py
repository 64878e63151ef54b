"""Objectives on the network's outputs: what it says of the target."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from irdream.dreaming.objectives.base import ForwardOutput, Objective, of_target


class _OnOutput(Objective):
    reads_output = True
    name = ""

    def __repr__(self) -> str:
        return self.name


class LogProbability(_OnOutput):
    """log p of the target, averaged over the windows: low windows pull hardest.

    The default. The score cannot run away as a logit does, since it ends at zero.
    """

    name = "log_probability"

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return of_target(output.log_probabilities, targets).mean(dim=1)

    def goal(self, confidence: float) -> float:
        """Return log c."""
        return math.log(confidence)


class Probability(_OnOutput):
    """The target's probability, averaged over the windows; its gradient vanishes at 0 and 1."""

    name = "probability"

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return of_target(output.log_probabilities, targets).exp().mean(dim=1)

    def goal(self, confidence: float) -> float:
        """Return c."""
        return confidence


class Logit(_OnOutput):
    """The target's logit, averaged over the windows, as in DeepDream.

    Under a softmax it can grow without raising the probability.
    """

    name = "logit"

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        return of_target(output.logits, targets).mean(dim=1)


class Margin(_OnOutput):
    """The target's log-odds: log p_t less the log-sum-exp of the others' log p.

    Under a softmax it is the target's logit less the log-sum-exp of the other logits; it is
    straight where log p bends, and neither ends nor runs away with what all logits share.
    """

    name = "margin"

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""
        logs = output.log_probabilities
        own = torch.zeros_like(logs[:, :1], dtype=torch.bool).scatter(
            2, targets[:, None, None], True
        )
        others = logs.masked_fill(own, -torch.inf).logsumexp(dim=2)
        return (of_target(logs, targets) - others).mean(dim=1)

    def goal(self, confidence: float) -> float:
        """Return log(c / (1 - c))."""
        return math.log(confidence / (1.0 - confidence))
