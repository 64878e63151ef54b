"""What an objective is: a score for each item, higher is better, and the algebra of scores.

Scores are averaged over the windows of an item, so that neither the size of a batch nor the length
of an excerpt changes a step. `a + 0.5 * b - c` is an objective again; what it prints is what it
computes.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from irdream.dreaming.batch import Originals
from irdream.errors import InputError, no_class

Prepared = dict[str, Tensor]  # tensors with an axis of items, by names
# Gives the activations of log-mels (items, n_mels, frames) by the names of layers:
ReadLayers = Callable[[Tensor, Sequence[str]], dict[str, Tensor]]
Weight = float | Tensor  # for all items, or one for each, (items,)
_NONE = torch.empty(0)


@dataclass(frozen=True, kw_only=True)
class ForwardOutput:
    """What is known of some items in one step, all of one length."""

    logits: Tensor  # (items, windows, instruments); empty where no objective reads them
    log_probabilities: Tensor  # the same shape; their exponentials sum to one
    # Of the layers that were asked for, by module name, (items, windows, *shape of the output):
    activations: Mapping[str, Tensor] = field(default_factory=dict)
    log_mel: Tensor = _NONE  # the dream, before the random views, (items, n_mels, frames)
    start: Tensor = _NONE  # the original's log-mel, the same shape
    signal: Tensor = _NONE  # of the parametrization, such as a gain, (items, ...)
    waveform: Tensor | None = None  # the dream, (items, samples), where it is made as sound
    start_waveform: Tensor | None = None  # the original, (items, samples)
    prepared: Mapping[str, Tensor] = field(default_factory=dict)  # by the objective, of these items
    items: Tensor = _NONE  # their places among the items of the run, (items,)
    groups: Tensor = _NONE  # (items,); items of one group were asked to differ or to share

    def probabilities(self) -> Tensor:
        """Return an item's probabilities, the mean over its windows, (items, instruments)."""
        return self.log_probabilities.exp().mean(dim=1)


class Objective(ABC):
    """Returns a score for each item.

    Where nothing reads the output, the network is left after the last layer that is read, and no
    item stops at a confidence.
    """

    layers: tuple[str, ...] = ()  # names of the modules whose activations it reads
    reads_output: bool = False  # whether it reads logits
    needs_whole_groups: bool = False  # whether an item's score depends on others of its group

    @abstractmethod
    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""

    def prepare(self, read_layers: ReadLayers, originals: Originals) -> Prepared:
        """Compute once a run what does not change, for `output.prepared`.

        `read_layers` reads activations of log-mels, without gradients; `originals` are of all
        items. Keys begin with the objective's own `repr`.
        """
        return {}

    def goal(self, confidence: float) -> float | None:
        """Return the score at which a target's probability is `confidence`, if it follows."""
        return None

    def __repr__(self) -> str:
        return self._call

    @cached_property
    def _call(self) -> str:
        """The call that makes it; arguments that are None, or no attributes, are left out."""
        arguments = []
        for parameter in inspect.signature(type(self)).parameters.values():
            value = getattr(self, parameter.name, None)
            named = f"{parameter.name}=" if parameter.kind is parameter.KEYWORD_ONLY else ""
            arguments += [] if value is None else [f"{named}{value!r}"]
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        return f"{name}({', '.join(arguments)})" if arguments else name

    def __add__(self, other: Objective | float) -> Objective:
        if isinstance(other, Real) and other == 0:  # sum() begins with 0
            return self
        if not isinstance(other, Objective):
            return NotImplemented
        return WeightedSum([*_terms(self), *_terms(other)])

    def __sub__(self, other: Objective) -> Objective:
        return self + (-other) if isinstance(other, Objective) else NotImplemented

    def __mul__(self, weight: Weight) -> Objective:
        if not isinstance(weight, Real | Tensor):
            return NotImplemented
        return WeightedSum([(_weight(weight) * w, one) for w, one in _terms(self)])

    def __truediv__(self, divisor: float) -> Objective:
        return self * (1.0 / float(divisor)) if isinstance(divisor, Real) else NotImplemented

    def __neg__(self) -> Objective:
        return self * -1.0

    __radd__ = __add__
    __rmul__ = __mul__


class WeightedSum(Objective):
    """The sum of objectives times their weights.

    Args:
        terms: (weight, objective) each, or a mapping with these two keys. A weight is a number, or
            a number for each item of the run, (items,).

    Raises:
        InputError: when there are no terms, or one has no weight that is a number or no objective.
    """

    def __init__(self, terms: Sequence[tuple[Weight, Objective] | Mapping[str, Any]]) -> None:
        if not terms:
            raise InputError("objective.terms is empty; expected weights and objectives")
        self.terms = [_term(term) for term in terms]
        objectives = [objective for _, objective in self.terms]
        self.layers = tuple(dict.fromkeys(name for o in objectives for name in o.layers))
        self.reads_output = any(o.reads_output for o in objectives)
        self.needs_whole_groups = any(o.needs_whole_groups for o in objectives)

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        score: Any = 0.0
        for weight, objective in self.terms:
            if isinstance(weight, Tensor):
                weight = weight.to(output.items.device)[output.items]
            score = score + weight * objective(output, targets)
        return score

    def prepare(self, read_layers: ReadLayers, originals: Originals) -> Prepared:
        prepared: Prepared = {}
        for weight, objective in self.terms:
            if isinstance(weight, Tensor) and weight.shape != originals.log_mel.shape[:1]:
                raise InputError(
                    f"weights of shape {tuple(weight.shape)} for {objective!r}; expected a number, "
                    f"or one for each of {len(originals.log_mel)} items"
                )
            prepared |= objective.prepare(read_layers, originals)
        return prepared

    def goal(self, confidence: float) -> float | None:
        weight, objective = self.terms[0]
        goal = objective.goal(confidence)
        if len(self.terms) > 1 or goal is None or isinstance(weight, Tensor) or weight <= 0:
            return None
        return weight * goal

    def __repr__(self) -> str:
        text = ""
        for weight, objective in self.terms:
            of_each = isinstance(weight, Tensor)
            size = repr(weight.tolist() if of_each else abs(weight)).removesuffix(".0")
            factor = "" if size == "1" else f"{size} * "
            sign = "-" if not of_each and weight < 0 else "+"
            text += f" {sign} " if text else "-" * (sign == "-")
            text += f"{factor}{objective!r}"
        return text


class Custom(Objective):
    """A function of the forward output and the targets, as an objective; it reads the output."""

    reads_output = True

    def __init__(self, function: Callable[[ForwardOutput, Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return self.function(output, targets)

    def __repr__(self) -> str:
        function: Any = getattr(self.function, "func", self.function)  # of a partial
        return getattr(function, "__name__", type(function).__name__)


def as_objective(objective: Objective | Callable[[ForwardOutput, Tensor], Tensor]) -> Objective:
    """Return an objective as it is, and a function as one; refuse what cannot be called."""
    if isinstance(objective, Objective):
        return objective
    no_class("objective", objective)
    if not callable(objective):
        raise InputError(f"objective={objective!r}; expected an objective or a function")
    return Custom(objective)


def of_target(values: Tensor, targets: Tensor) -> Tensor:
    """Pick (items, windows) from (items, windows, instruments) by targets (items,)."""
    index = targets[:, None, None].expand(-1, values.shape[1], 1)
    return values.gather(2, index)[..., 0]


def _terms(objective: Objective) -> list[tuple[Weight, Objective]]:
    return objective.terms if isinstance(objective, WeightedSum) else [(1.0, objective)]


def _term(term: Any) -> tuple[Weight, Objective]:
    """Return weight and objective of a pair, or of a mapping from a yaml."""
    if isinstance(term, Mapping):
        if set(term) != {"weight", "objective"}:
            raise InputError(
                f"objective.terms has {sorted(map(str, term))}; expected weight and objective"
            )
        term = term["weight"], term["objective"]
    weight, objective = term
    if not isinstance(weight, Real | Tensor):
        raise InputError(f"weight={weight!r} of an objective; expected a number")
    return _weight(weight), as_objective(objective)


def _weight(weight: Any) -> Weight:
    return weight if isinstance(weight, Tensor) else float(weight)
