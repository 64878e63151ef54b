"""What happened to each item during an ascent: the best iterate, the stop, the curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from irdream.dreaming.objectives import Heard
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
    def of(cls, recognizer: Recognizer, heard: Heard, targets: Tensor) -> Answer:
        """Sum up what was heard."""
        return cls(
            probabilities=heard.probabilities(),
            scores=recognizer.scores(heard.logits).mean(dim=1),
            windows=heard.window_probabilities(targets),
        )

    @classmethod
    def joined(cls, answers: Sequence[Answer]) -> Answer:
        """Put the answers on several slices of items one after the other."""
        parts = (torch.cat(part) for part in zip(*map(_parts, answers), strict=True))
        return cls(**dict(zip(("probabilities", "scores", "windows"), parts, strict=True)))

    def one(self, i: int) -> Answer:
        """Return the answer on item `i` alone, on the CPU."""
        probabilities, scores, windows = (part[i : i + 1].cpu() for part in _parts(self))
        return Answer(probabilities=probabilities, scores=scores, windows=windows)

    def of_target(self, targets: Tensor) -> Tensor:
        """Return the probability of each item's target, (items,)."""
        return self.probabilities.gather(1, targets[:, None])[:, 0]

    def success(self, targets: Tensor, confidence: float) -> Tensor:
        """Return (items,): the target is on top, with at least this probability."""
        on_top = self.probabilities.argmax(dim=1) == targets
        return on_top & (self.of_target(targets) >= confidence)


@dataclass(frozen=True, kw_only=True)
class Dreams:
    """The result of an ascent.

    Attributes:
        signal: the best iterate of each item, in the parametrization's own shape.
        before, after: what the recognizer says of the originals and of `signal`.
        steps: steps from the original to `signal`, (items,).
        reached: whether the confidence was reached, (items,).
        probability_curve: the target's probability before each step and after the last,
            (steps + 1, items); NaN after an item's stop.
        objective_curve: the objective likewise.
    """

    signal: Tensor
    before: Answer
    after: Answer
    steps: Tensor
    reached: Tensor
    probability_curve: Tensor
    objective_curve: Tensor


class Record:
    """Keeps the best iterate of each item and knows who is finished.

    Args:
        targets: instrument indices, (items,).
        confidence: probability of the target at which an item is finished; None: never.
    """

    def __init__(self, targets: Tensor, *, confidence: float | None) -> None:
        self.targets, self.confidence = targets, confidence
        self.finished = torch.zeros_like(targets, dtype=torch.bool)
        self.steps = torch.zeros_like(targets)
        self.best = torch.empty(0)  # the highest probability of each item
        self.curves: dict[str, list[Tensor]] = {"probability": [], "objective": []}
        self.signal: Tensor | None = None
        self.before: Answer | None = None
        self.after: Answer | None = None

    @property
    def step(self) -> int:
        """Return how many steps were taken by the items that are left."""
        return len(self.curves["probability"]) - 1

    def keep(self, left: Tensor, signal: Tensor, answer: Answer, score: Tensor) -> None:
        """Take in the present iterate of the items `left`."""
        probability = answer.of_target(self.targets[left])
        if self.signal is None:
            self.best = torch.full_like(probability, -torch.inf)
        for name, values in (("probability", probability), ("objective", score)):
            row = torch.full_like(self.best, torch.nan)
            row[left] = values.detach().to(row.dtype)
            self.curves[name].append(row)
        if self.signal is None or self.after is None:
            self.signal, self.before, self.after = signal.clone(), answer, _copy(answer)
        better = probability > self.best[left]
        rows = left[better]
        self.signal[rows] = signal[better]
        for kept, new in zip(_parts(self.after), _parts(answer), strict=True):
            kept[rows] = new[better]
        self.best[rows] = probability[better]
        self.steps[rows] = self.step
        if self.confidence is not None:
            self.finished[left] = answer.success(self.targets[left], self.confidence)

    def dreams(self) -> Dreams:
        """Return what was kept."""
        assert self.signal is not None
        assert self.before is not None
        assert self.after is not None
        return Dreams(
            signal=self.signal,
            before=self.before,
            after=self.after,
            steps=self.steps,
            reached=self.finished,
            probability_curve=torch.stack(self.curves["probability"]),
            objective_curve=torch.stack(self.curves["objective"]),
        )


def _parts(answer: Answer) -> tuple[Tensor, Tensor, Tensor]:
    return answer.probabilities, answer.scores, answer.windows


def _copy(answer: Answer) -> Answer:
    return Answer(
        probabilities=answer.probabilities.clone(),
        scores=answer.scores.clone(),
        windows=answer.windows.clone(),
    )
