"""What happened to each item during an ascent: the best iterate, the stop, the curves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from irdream.dreaming.objectives.base import of_target
from irdream.recognizer import Recognizer

_KEPT = ("items", "signal", "logits", "steps", "reached")  # of an item that is finished
PROGRESS = 2e-3  # relative: what is less does not count for `patience`


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
        """ReadLayers to log-mels (items, n_mels, frames) and sum up what is heard."""
        return cls.of(recognizer, recognizer.window_logits(log_mel), targets)

    def one(self, i: int) -> Answer:
        """Return the answer on item `i` alone, on the CPU."""
        parts = (self.probabilities, self.scores, self.windows)
        probabilities, scores, windows = (part[i : i + 1].cpu() for part in parts)
        return Answer(probabilities=probabilities, scores=scores, windows=windows)

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
        log_mel: what is heard of it, (items, n_mels, frames).
        waveform: (items, samples) where the parametrization makes sound, else None.
        before, after: what the recognizer says of the originals and of `log_mel`.
        steps: steps from the original to `signal`, (items,).
        flip_steps: steps until the target is first the most probable, (items,); NaN: never.
        reached: whether the confidence was reached, (items,).
        probability_curve: the target's probability before each step and after the last,
            (steps + 1, items); NaN after an item's stop, and where the network was left early.
        objective_curve: the objective likewise.
        item_steps: steps taken, summed over the items: what the run cost.
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


@dataclass(frozen=True, kw_only=True)
class Stops:
    """When an item is finished.

    Attributes:
        patience: steps without an iterate that is better by `PROGRESS`; None: never.
        seeks_least_change: an item that has the confidence looks for an iterate with less change.
        keeps_last: the last iterate is kept instead of the best.
    """

    patience: int | None = None
    seeks_least_change: bool = False
    keeps_last: bool = False


class Record:
    """Keeps the best iterate of each item that is left, and knows who is finished.

    An iterate is better when the target is more probable (where nothing reads the output: when
    the objective is higher); or, where the least change is sought, when it has the confidence
    and changes less; or simply later, where the last is kept. Nothing here waits for a device.

    Args:
        targets: instrument indices, (items,).
        stops: when an item is finished.
    """

    def __init__(self, targets: Tensor, stops: Stops) -> None:
        self.targets, self.stops = targets, stops
        count, device = len(targets), targets.device
        self.items = torch.arange(count, device=device)  # those that are left
        self.alive = torch.ones(count, dtype=torch.bool, device=device)  # of those left
        self.signal, self.logits = torch.empty(0), torch.empty(0)  # the best of those left
        self.first_logits = torch.empty(0)  # of all items
        self.merit, self.steps = torch.empty(0), torch.zeros_like(targets)
        self.mark, self.waited = torch.empty(0), torch.zeros_like(targets)  # since it was passed
        self.reached = torch.zeros(count, dtype=torch.bool, device=device)
        self.ended: list[dict[str, Tensor]] = []
        self.rows: list[tuple[Tensor, ...]] = []  # items, alive, and the curves
        self.item_steps = 0

    @property
    def step(self) -> int:
        """Return how many steps the items that are left have taken."""
        return len(self.rows) - 1

    @property
    def dropped(self) -> int:
        """Return how many items are finished and have left the batch."""
        return len(self.targets) - len(self.items)

    def keep(
        self,
        signal: Tensor,
        logits: Tensor | None,
        score: Tensor,
        probability: Tensor,
        reached: Tensor,
        change: Tensor | None = None,
        *,
        on_top: Tensor,
    ) -> None:
        """Take in the present iterate of the items that are left.

        Args:
            signal: (items, ...).
            logits: (items, windows, instruments); None where nothing reads the output.
            score: the objective, (items,).
            probability: of the target, (items,).
            reached: whether they have the confidence, (items,).
            change: from the original, (items,), where the least is sought.
            on_top: 1 where the target is the most probable, 0 elsewhere, (items,).
        """
        merit = score if logits is None else probability
        if change is not None:  # all that have it before all that have it not, then the quieter
            merit = torch.where(reached, 1.0 + 1.0 / (1.0 + change), merit)
        if self.stops.keeps_last:
            merit = torch.full_like(score, len(self.rows))
        logits = score if logits is None else logits
        self.rows.append((self.items, self.alive, probability, score, on_top))
        if self.step == 0:
            self.signal, self.logits, self.merit, self.mark = signal, logits, merit, merit
            self.first_logits = logits
        else:
            better = (merit > self.merit) & self.alive
            self.steps = self.steps.masked_fill(better, self.step)
            if better.device.type == "cpu" and bool(better.all()):  # the usual case, read for free
                self.signal, self.logits, self.merit = signal, logits, merit
            else:
                self.signal = torch.where(_like(better, signal), signal, self.signal)
                self.logits = torch.where(_like(better, logits), logits, self.logits)
                self.merit = torch.where(better, merit, self.merit)
            if self.stops.patience is not None:
                ahead = merit > self.mark + PROGRESS * self.mark.abs()
                if (
                    self.stops.seeks_least_change
                ):  # the wait for a quieter dream begins once there is one
                    ahead = ahead | ~(self.reached | reached)
                self.mark = torch.where(ahead, merit, self.mark)
                self.waited = (self.waited + 1).masked_fill_(ahead, 0)
        self.reached = self.reached | (reached & self.alive)
        if not self.stops.seeks_least_change:
            self.alive = self.alive & ~reached

    def apply_patience(self, *, last_octave: bool) -> None:
        """Finish the items that have waited too long for a clearly better iterate.

        In coarser octaves they wait for the next one.
        """
        if not last_octave:
            self.waited = torch.zeros_like(self.waited)
        elif self.stops.patience is not None:
            self.alive = self.alive & (self.waited < self.stops.patience)

    def drop(self, gone: Tensor, left: Tensor) -> None:
        """Put the items at the rows `gone` away, and go on with those at the rows `left`."""
        self.ended.append({name: getattr(self, name)[gone] for name in _KEPT})
        for name in (*_KEPT, "alive", "merit", "mark", "waited"):
            setattr(self, name, getattr(self, name)[left])

    def kept(self) -> dict[str, Tensor]:
        """Return the best of all items: signal, logits, steps, reached, in the run's order."""
        parts = [*self.ended, {name: getattr(self, name) for name in _KEPT}]
        order = torch.cat([part["items"] for part in parts]).argsort()
        return {name: torch.cat([part[name] for part in parts])[order] for name in _KEPT}

    def first_broken(self) -> int | None:
        """Return the first step at which an item that was left had no finite objective, if any."""
        broken = [(alive & ~score.isfinite()).any() for _, alive, _, score, _ in self.rows]
        steps = torch.stack(broken).nonzero()[:, 0].tolist()
        return steps[0] if steps else None

    def curves(self) -> list[Tensor]:
        """Return target probability, objective and `on_top` over the steps.

        Each is (steps + 1, items), and NaN after an item's end.
        """
        shape = (len(self.rows), len(self.targets))
        curves = [torch.full(shape, torch.nan, device=self.targets.device) for _ in range(3)]
        first = 0
        for _, same in itertools.groupby(self.rows, key=lambda row: id(row[0])):  # until a drop
            rows = list(same)
            items, alive = rows[0][0], torch.stack([row[1] for row in rows])
            steps = torch.arange(first, first + len(rows), device=items.device)[:, None]
            for curve, values in zip(curves, list(zip(*rows, strict=True))[2:], strict=True):
                heard = torch.stack(values).to(curve.dtype).masked_fill(~alive, torch.nan)
                curve[steps, items] = heard
            first += len(rows)
        return curves


def first_step(curve: Tensor, level: float) -> Tensor:
    """Return where a curve (steps + 1, items) is first at least `level`, (items,); NaN: nowhere."""
    there = curve >= level
    first = there.to(torch.uint8).argmax(dim=0).to(curve.dtype)
    return first.masked_fill(~there.any(dim=0), torch.nan)


def _like(mask: Tensor, values: Tensor) -> Tensor:
    return mask.view(-1, *(1,) * (values.ndim - 1))
