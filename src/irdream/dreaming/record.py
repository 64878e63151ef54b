"""What an ascent returns: the dreams, and what the recognizer says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from irdream.dreaming.objectives.base import of_target
from irdream.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the recognizer says of some items.

    Attributes:
        probabilities: mean over the windows, (items, instruments); they sum to one.
        scores: the network's own outputs, likewise (raw sigmoids, or the softmax again).
        windows: the target's probability in each window, (items, windows).
    """

    probabilities: Tensor
    scores: Tensor
    windows: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, recognizer: Recognizer, logits: Tensor, targets: Tensor) -> Answer:
        """Sum up logits (items, windows, instruments)."""
        logs = recognizer.log_probabilities(logits)
        return cls(
            probabilities=logs.exp().mean(dim=1),
            scores=recognizer.scores(logits).mean(dim=1),
            windows=of_target(logs, targets).exp(),
        )

    @classmethod
    @torch.no_grad()
    def to(cls, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Answer:
        """Ask the recognizer about log-mels (items, n_mels, frames), and sum up."""
        return cls.of(recognizer, recognizer.window_logits(log_mel), targets)

    def one(self, i: int) -> Answer:
        """Return the answer on item `i` alone, on the CPU."""
        return Answer(**{name: part[i : i + 1].cpu() for name, part in vars(self).items()})

    def of_target(self, targets: Tensor) -> Tensor:
        """Return the probability of each item's target, (items,)."""
        return self.probabilities.gather(1, targets[:, None])[:, 0]

    def top(self) -> Tensor:
        """Return the most probable instrument of each item, (items,)."""
        return self.probabilities.argmax(dim=1)

    def on_top(self, targets: Tensor, probability: float = 0.0) -> Tensor:
        """Return (items,): the target is the most probable, with at least this probability."""
        return (self.top() == targets) & (self.of_target(targets) >= probability)


@dataclass(frozen=True, kw_only=True)
class Dreams:
    """The result of an ascent.

    Attributes:
        signal: the best iterate of each item, in the parametrization's own shape.
        log_mel: what the network gets of it, (items, n_mels, frames).
        waveform: (items, samples) where the parametrization makes sound, else None.
        before, after: what the recognizer says of the originals and of `log_mel`.
        steps: steps from the original to `signal`, (items,).
        flip_steps: steps until the target is first the most probable, (items,); NaN: never.
        reached: whether the confidence was reached, (items,).
        probability_curve: the target's probability before each step and after the last,
            (steps + 1, items); NaN after an item's stop, and where the network was left early.
        objective_curve: the objective likewise.
        item_steps: steps taken, summed over the items: what the run cost.
        iterates: of each watched item its best iterates after some steps, by the steps: waveforms
            (samples,), or log-mels (n_mels, frames) where dreams are no sound.
    """

    signal: Tensor
    log_mel: Tensor
    waveform: Tensor | None
    before: Answer
    after: Answer
    steps: Tensor
    flip_steps: Tensor
    reached: Tensor
    probability_curve: Tensor
    objective_curve: Tensor
    item_steps: int
    iterates: Mapping[int, Mapping[int, Tensor]] = field(default_factory=dict)


class Octave(NamedTuple):
    """The state after an octave."""

    index: int  # 0 is full size; the coarsest comes first
    signal: Tensor  # the best iterates so far, (items, ...)
    steps: Tensor  # from the originals to them, (items,)
    reached: Tensor  # whether they have the confidence, (items,)


def first_step(curve: Tensor, level: float) -> Tensor:
    """Return where a curve (steps + 1, items) is first at least `level`, (items,); NaN: nowhere."""
    there = curve >= level
    first = there.to(torch.uint8).argmax(dim=0).to(curve.dtype)
    return first.masked_fill(~there.any(dim=0), torch.nan)
