"""What an objective is: a score for each item, higher is better, and the algebra of scores.

Scores keep the axis of items and are averaged over the windows of an item, so that neither the
size of a batch nor the length of an excerpt changes a step. `a + 0.5 * b - c` is an objective
again; what it prints is what it computes.
"""

from __future__ import annotations

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from irdream.arguments import Amount, checked
from irdream.audio.masking import masking_threshold
from irdream.audio.stft import stft
from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations.base import NATURAL_PER_DB
from irdream.errors import InputError

Prepared = dict[str, Tensor]  # tensors with an axis of items, by names
# Gives the activations of log-mels (items, n_mels, frames) by the names of layers:
ReadLayers = Callable[[Tensor, Sequence[str]], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class ForwardOutput:
    """What is known of some items in one step, all of one length.

    Attributes:
        logits: (items, windows, instruments); empty where no objective reads them.
        log_probabilities: the same shape; their exponentials sum to one.
        activations: of the layers that were asked for, by module name,
            (items, windows, *shape of the layer's output).
        log_mel: the dream, before the random views, (items, n_mels, frames).
        start: the original's log-mel, the same shape.
        signal: of the parametrization, such as a gain, (items, ...).
        waveform: the dream as sound, (items, samples), where the parametrization makes sound.
        start_waveform: the original, (items, samples).
        prepared: what the objective's own `prepare` returned, of these items.
        items: their places among the items of the run, (items,).
        groups: (items,); items of one group were asked to differ or to share.
    """

    logits: Tensor
    log_probabilities: Tensor
    activations: Mapping[str, Tensor] = field(default_factory=dict)
    log_mel: Tensor = field(default_factory=lambda: torch.empty(0))
    start: Tensor = field(default_factory=lambda: torch.empty(0))
    signal: Tensor = field(default_factory=lambda: torch.empty(0))
    waveform: Tensor | None = None
    start_waveform: Tensor | None = None
    prepared: Mapping[str, Tensor] = field(default_factory=dict)
    items: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    groups: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def probabilities(self) -> Tensor:
        """Return an item's probabilities, the mean over its windows, (items, instruments)."""
        return self.log_probabilities.exp().mean(dim=1)


class Objective(ABC):
    """Returns a score for each item.

    Attributes:
        layers: names of the modules whose activations it reads.
        reads_output: whether it reads logits; where nothing does, the network is left after
            the last layer that is read, and no item stops at a confidence.
        needs_whole_groups: whether an item's score depends on others of its group.
    """

    layers: tuple[str, ...] = ()
    reads_output: bool = False
    needs_whole_groups: bool = False

    @abstractmethod
    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,)."""

    def prepare(self, recognizer: Any, read_layers: ReadLayers, originals: Originals) -> Prepared:
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

    def __mul__(self, weight: float) -> Objective:
        if not isinstance(weight, Real):
            return NotImplemented
        return WeightedSum([(float(weight) * w, objective) for w, objective in _terms(self)])

    def __truediv__(self, divisor: float) -> Objective:
        return self * (1.0 / float(divisor)) if isinstance(divisor, Real) else NotImplemented

    def __neg__(self) -> Objective:
        return self * -1.0

    __radd__ = __add__
    __rmul__ = __mul__


class WeightedSum(Objective):
    """The sum of objectives times their weights.

    Args:
        terms: (weight, objective) each, or a mapping with these two keys.

    Raises:
        InputError: when there are no terms, or one has no weight that is a number or no objective.
    """

    def __init__(self, terms: Sequence[tuple[float, Objective] | Mapping[str, Any]]) -> None:
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
            score = score + weight * objective(output, targets)
        return score

    def prepare(self, recognizer: Any, read_layers: ReadLayers, originals: Originals) -> Prepared:
        prepared: Prepared = {}
        for _, objective in self.terms:
            prepared |= objective.prepare(recognizer, read_layers, originals)
        return prepared

    def goal(self, confidence: float) -> float | None:
        weight, objective = self.terms[0]
        goal = objective.goal(confidence)
        return None if len(self.terms) > 1 or goal is None or weight <= 0 else weight * goal

    def __repr__(self) -> str:
        text = ""
        for weight, objective in self.terms:
            size = repr(abs(weight)).removesuffix(".0")
            factor = "" if size == "1" else f"{size} * "
            sign = "-" if weight < 0 else "+"
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
        return getattr(self.function, "__name__", type(self.function).__name__)


def as_objective(objective: Objective | Callable[[ForwardOutput, Tensor], Tensor]) -> Objective:
    """Return an objective as it is, and a function as one; refuse what cannot be called."""
    if isinstance(objective, Objective):
        return objective
    if not callable(objective):
        raise InputError(f"objective={objective!r}; expected an objective or a function")
    return Custom(objective)


def of_target(values: Tensor, targets: Tensor) -> Tensor:
    """Pick (items, windows) from (items, windows, instruments) by targets (items,)."""
    index = targets[:, None, None].expand(-1, values.shape[1], 1)
    return values.gather(2, index)[..., 0]


def _terms(objective: Objective) -> list[tuple[float, Objective]]:
    return objective.terms if isinstance(objective, WeightedSum) else [(1.0, objective)]


def _term(term: Any) -> tuple[float, Objective]:
    """Return weight and objective of a pair, or of a mapping from a yaml."""
    if isinstance(term, Mapping):
        if set(term) != {"weight", "objective"}:
            raise InputError(
                f"objective.terms has {sorted(map(str, term))}; expected weight and objective"
            )
        term = term["weight"], term["objective"]
    weight, objective = term
    if not isinstance(weight, Real):
        raise InputError(f"weight={weight!r} of an objective; expected a number")
    return float(weight), as_objective(objective)


LEAST_POWER = 1e-30  # so that nothing is divided by 0


class LogProbability(Objective):
    """log p of the target, averaged over the windows: low windows pull hardest.

    The default. The score cannot run away as a logit does, since it ends at zero.
    """

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return of_target(output.log_probabilities, targets).mean(dim=1)

    def goal(self, confidence: float) -> float:
        return math.log(confidence)


class Probability(Objective):
    """The target's probability, averaged over the windows; its gradient vanishes at 0 and 1."""

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return of_target(output.log_probabilities, targets).exp().mean(dim=1)

    def goal(self, confidence: float) -> float:
        return confidence


class Logit(Objective):
    """The target's logit, averaged over the windows, as in DeepDream.

    Under a softmax it can grow without raising the probability.
    """

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return of_target(output.logits, targets).mean(dim=1)


class Margin(Objective):
    """The target's log-odds: log p_t less the log-sum-exp of the others' log p.

    Under a softmax it is the target's logit less the log-sum-exp of the other logits; it is
    straight where log p bends, and neither ends nor runs away with what all logits share.
    """

    reads_output = True

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        logs = output.log_probabilities
        return (of_target(logs, targets) - _of_others(logs, targets)).mean(dim=1)

    def goal(self, confidence: float) -> float:
        return math.log(confidence / (1.0 - confidence))


class Complement(Objective):
    """log(1 - p) of the target in the original less the dream, averaged over the windows.

    Beside `LogProbability` it asks for a part of the sound that has the answer and whose rest has
    lost it (Paissan, Ravanelli and Subakan 2024, "Listenable Maps for Audio Classifiers").
    """

    reads_output = True
    _recognizer: Any = None  # of the run

    def prepare(
        self, recognizer: Any, read_layers: ReadLayers, originals: Originals
    ) -> dict[str, Tensor]:
        """Keep the network, which gets what is left in each step."""
        self._recognizer = recognizer
        return {}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return (items,); InputError where the dream is no sound."""
        if output.waveform is None or output.start_waveform is None:
            raise InputError(
                "objective Complement of dreams that are no sound; expected a parametrization that "
                "makes sound: parametrization=stft_mask"
            )
        rest = self._recognizer.log_mel(output.start_waveform - output.waveform)
        logs = self._recognizer.log_probabilities(self._recognizer.window_logits(rest))
        return _of_others(logs, targets).mean(dim=1)


class MeanGain(Objective):
    """The mean of the gain, where the parametrization is one: of a mask, how much it lets through.

    To be subtracted. A gain of 1 everywhere costs 1.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return _mean(output.signal.exp())


class TotalVariation(Objective):
    """The mean absolute step from band to band and from frame to frame, summed, in dB.

    One edge costs as much as a slope to the same height, and noise costs most. Source: Rudin,
    Osher and Fatemi 1992, here for each axis on its own.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        steps = [output.log_mel.diff(dim=axis) for axis in range(1, output.log_mel.ndim)]
        total = torch.stack([_mean(step.abs()) for step in steps]).sum(dim=0)
        return _unit(output) * total


class L1(Objective):
    """The mean absolute change from the start, in dB; it leaves most places as they were."""

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return _unit(output) * _mean((output.log_mel - output.start).abs())


class L2(Objective):
    """The mean square of the change from the start, in dB^2.

    The square and not its root: a root has no gradient at the start, where every dream begins.
    """

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        return _unit(output) ** 2 * _mean((output.log_mel - output.start).square())


@checked
@dataclass(kw_only=True, repr=False, eq=False)
class Blur(Objective):
    """The mean squared difference to the blurred log-mel, along each axis on its own, in dB^2.

    The blur is [1 2 1] / 4 with repeated edges: a slope costs nothing, what alternates costs
    most. Subtracted, it draws a dream toward its blur a little in each step, instead of blurring
    it every few steps (Yosinski and others 2015, "Understanding neural networks through deep
    visualization").

    `mels` weighs the blur along the mel bands, `frames` that along the frames or a waveform's
    samples.
    """

    mels: Amount = 1.0
    frames: Amount = 1.0

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        log_mel = output.log_mel
        along_frames = self.frames * _mean(_from_blur(log_mel, -1).square())
        if log_mel.ndim < 3:
            return along_frames
        along_mels = self.mels * _mean(_from_blur(log_mel, -2).square())
        return _unit(output) ** 2 * (along_mels + along_frames)


@dataclass(kw_only=True, repr=False, eq=False)
class MaskingPenalty(Objective):
    """How far the change lies above the masking threshold, in dB, the mean over all bins.

    Never negative: it is to be subtracted, `log_probability - 0.1 * masking_penalty`. Bins
    below the threshold count as 0, so that only what is audible is pushed down, as in Qin et
    al. (2019), section 4; in dB, since of powers the loudest bin alone would rule the gradient.
    Where the parametrization makes sound, the bins are those of its spectrum; otherwise mel
    bands, whose threshold is the sum of their bins' (as magnitudes), weighed as the front end
    weighs the bins.
    """

    margin_db: float = 0.0  # how far below the threshold the change should stay
    full_scale_db: float | None = None  # dB SPL of a sine of amplitude 1; None: loudest bin is 96

    def __post_init__(self) -> None:
        self._frontend: Any = None  # of the run; its transform is needed in each step

    def prepare(self, recognizer: Any, read_layers: ReadLayers, originals: Originals) -> Prepared:
        """Return the powers from which a change is audible, of bins and of mel bands."""
        frontend = self._frontend = recognizer.stft_grid
        bins = masking_threshold(
            originals.waveform_for(self),
            n_fft=frontend.n_fft,
            hop_samples=frontend.hop_samples,
            sample_rate_hz=frontend.sample_rate_hz,
            full_scale_db=self.full_scale_db,
        )
        bins = (bins * 10.0 ** (-self.margin_db / 10.0)).clamp(min=LEAST_POWER)
        basis = frontend.mel_basis.to(bins.dtype)
        bands = torch.matmul(basis, bins[..., : originals.log_mel.shape[-1]].sqrt()).square()
        return {f"{self!r} bins": bins, f"{self!r} bands": bands}

    def __call__(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        if output.waveform is None or output.start_waveform is None:
            power = (output.log_mel.exp() - output.start.exp()).square()
            threshold = output.prepared[f"{self!r} bands"]
        else:
            change = stft(output.waveform - output.start_waveform, self._frontend)
            power = change.real.square() + change.imag.square()
            threshold = output.prepared[f"{self!r} bins"]
        # From 1 up, that is from 0 dB: a logarithm of 0 never appears, nor in a gradient.
        ratio = (power / threshold).clamp(min=1.0)
        return 10.0 * ratio.log10().mean(dim=(1, 2))


def _of_others(logs: Tensor, targets: Tensor) -> Tensor:
    """Return log(1 - p) of the targets, (items, windows), of log p (items, windows, classes)."""
    own = torch.zeros_like(logs[:, :1], dtype=torch.bool).scatter(2, targets[:, None, None], True)
    return logs.masked_fill(own, -torch.inf).logsumexp(dim=2)


def _from_blur(values: Tensor, axis: int) -> Tensor:
    """Return [1 2 1] / 4 of the values less the values: a quarter of their second difference."""
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
    return values.diff(n=2, dim=axis, prepend=first, append=last) / 4.0


def _mean(values: Tensor) -> Tensor:
    """Return (items,), zero where an axis of length one has no steps."""
    return values.flatten(1).sum(dim=1) / max(1, math.prod(values.shape[1:]))


def _unit(output: ForwardOutput) -> float:
    """Return dB for each unit of a log-mel; a waveform's unit stays."""
    return 1.0 / NATURAL_PER_DB if output.log_mel.ndim == 3 else 1.0
