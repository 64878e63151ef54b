"""What an ascent keeps: the best iterate of each item, its curves, and whether it is finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from irdream.dreaming.batch import Batch, Evaluation, joined, per_item, rows_of
from irdream.dreaming.objectives import Objective, of_target
from irdream.errors import InputError
from irdream.recognizer import Recognizer
from irdream.runtime import DeferredRead

PROGRESS = 2e-3  # relative: what is less does not count for `patience`


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The best iterates of some items; every tensor has an axis of them."""

    items: Tensor  # their places in the run
    signal: Tensor  # of the best iterate
    logits: Tensor
    steps: Tensor  # from the original to it
    reached: Tensor  # whether the confidence was
    merit: Tensor  # by which it was chosen
    mark: Tensor  # the merit of the last clear progress
    waited: Tensor  # steps since then
    alive: Tensor  # whether the item is not finished


class Best:
    """Keeps the best iterate of each item, and knows who is finished; settings are an `Ascent`'s.

    An iterate is better when the target is more probable (where nothing reads the output: when
    the objective is higher); where the optimizer refines, when it has the confidence and changes
    less; where the last is kept, when it is later. An item is finished when it has the
    confidence, unless the optimizer refines, or when it waited for `patience` steps. Items that
    are `watched` are kept on the way too, after 1/12, 1/6, 1/3 and 2/3 of the `steps`. Nothing
    here makes the host wait for a CUDA device.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        refines: bool = False,
        patience: int | None = None,
        keep: Literal["best", "last"] = "best",
        watched: Tensor | None = None,
        steps: int = 0,
    ) -> None:
        self.objective, self.refines, self.patience, self.keep = objective, refines, patience, keep
        self.watched = torch.empty(0) if watched is None else watched
        self.marks = [max(1, steps // 12) * 2**k for k in range(4)]
        self.on_the_way: dict[int, Tensor] = {}  # the signals of the watched items, by the steps
        self.now: Kept  # of those that are left, since the first update
        self.ended: list[Kept] = []
        self.history: list[tuple[Tensor, Tensor, Tensor]] = []  # items, alive, three values
        self.first_logits: Tensor  # of all items
        self.began_undreamed = False  # whether the first signals were those of the originals
        self.count = self.item_steps = 0  # items of the run; the steps of all of them
        self.deferred = DeferredRead()

    @property
    def step(self) -> int:
        return len(self.history) - 1  # of the items that are left; -1 before the first update

    @property
    def dropped(self) -> int:
        return self.count - len(self.now.items)

    def unfinished(self) -> list[int]:
        """Return the items that still look for something better."""
        return self.now.items[self.now.alive & ~self.now.reached].tolist()

    def update(self, batch: Batch, seen: Evaluation) -> None:
        """Take in the present iterate of the items that are left."""
        merit = self._merit(batch, seen)
        if not self.history:
            zeros = torch.zeros_like(batch.items)
            self.now = Kept(
                items=batch.items, signal=seen.signal, logits=seen.logits, steps=zeros,
                reached=zeros > 0, merit=merit, mark=merit, waited=zeros, alive=zeros == 0,
            )  # fmt: skip
            self.count, self.first_logits = len(batch.items), seen.logits
            self.began_undreamed = torch.equal(seen.signal, batch.start.signal)
        now = self.now
        values = torch.stack([seen.probability, seen.score, seen.on_top]).float()
        self.history.append((now.items, now.alive, values))
        better = (merit > now.merit) & now.alive
        ahead = merit > now.mark + PROGRESS * now.mark.abs()
        if self.refines:  # the wait for a quieter dream begins once there is one
            ahead = ahead | ~(now.reached | seen.reached)
        self.now = replace(
            now,
            signal=torch.where(per_item(better, seen.signal), seen.signal, now.signal),
            logits=torch.where(per_item(better, seen.logits), seen.logits, now.logits),
            steps=now.steps.masked_fill(better, self.step),
            reached=now.reached | (seen.reached & now.alive),
            merit=torch.where(better, merit, now.merit),
            mark=torch.where(ahead, merit, now.mark),
            waited=(now.waited + 1).masked_fill(ahead, 0) if self.step else now.waited,
            alive=now.alive if self.refines else now.alive & ~seen.reached,
        )
        if len(self.watched) and self.step in self.marks:
            self.on_the_way[self.step] = self.of_all().signal[self.watched]

    def leave(self, batch: Batch, seen: Evaluation, *, last_octave: bool) -> Tensor | None:
        """Put finished items away, and return the rows of the others; None: all, as far as known.

        Raises InputError when the objective or its gradient is not finite.
        """
        now = self.now
        if not last_octave:  # there they wait for the next octave
            now = replace(now, waited=torch.zeros_like(now.waited))
        elif self.patience is not None:
            now = replace(now, alive=now.alive & (now.waited < self.patience))
        self.now, left = now, now.alive
        if self.objective.needs_whole_groups:  # a group is left while one of its items is
            counts = torch.zeros(self.count, device=left.device)
            left = counts.index_add_(0, batch.groups, left.float())[batch.groups] > 0
        sums = seen.score.sum() + seen.gradient.sum()
        count, finite = self.deferred.read(left.sum(), sums.isfinite()) or (len(left), True)
        if not finite:
            self.check_finite(batch, is_broken=True)
        self.item_steps += count
        if count == len(left):
            return None
        order = (~left).to(torch.int8).argsort(stable=True)
        self.ended.append(rows_of(now, order[count:]))
        self.now = rows_of(now, order[:count])
        return order[:count]

    def of_all(self) -> Kept:
        """Return the best iterates of all items, in the order of the run."""
        kept = joined([*self.ended, self.now])
        return rows_of(kept, kept.items.argsort())

    def curves(self) -> Tensor:
        """Return probability, objective, `on_top`, (3, steps + 1, items), NaN after items' ends."""
        shape = (3, len(self.history), self.count)
        curves = torch.full(shape, torch.nan, dtype=torch.float32, device=self.now.items.device)
        for step, (places, alive, values) in enumerate(self.history):
            curves[:, step, places] = values.masked_fill(~alive, torch.nan)
        return curves

    def check_finite(self, batch: Batch, *, is_broken: bool = False) -> None:
        """Raise an InputError on an objective or a gradient that is not finite."""
        broken = [(alive & ~values[1].isfinite()).any() for _, alive, values in self.history]
        steps = torch.stack(broken).nonzero()[:, 0].tolist()
        if steps or is_broken:
            step, size = steps[0] if steps else self.step, float((batch.step / batch.unit).max())
            start = "that is at the start: check what the network makes of it"
            raise InputError(
                f"the objective {self.objective!r} or its gradient is not finite at step {step}; "
                f"{f'lower dream.step_size={size:g}' if step else start}"
            )

    def _merit(self, batch: Batch, seen: Evaluation) -> Tensor:
        """Return the merit of the present iterates, (items,); the highest one is kept."""
        if self.keep == "last":
            return torch.full_like(seen.score, len(self.history))
        merit = seen.probability if self.objective.reads_output else seen.score
        if not self.refines:
            return merit
        moved = ((batch.parameters - batch.undreamed) / batch.unit).flatten(1)
        change = moved.square().mean(dim=1).sqrt()
        return torch.where(seen.reached, 1.0 + 1.0 / (1.0 + change), merit)  # then the quieter


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the recognizer says of some items."""

    probabilities: Tensor  # mean over the windows, (items, instruments); they sum to one
    scores: Tensor  # the network's own outputs, likewise (raw sigmoids, or the softmax again)
    windows: Tensor  # the target's probability in each window, (items, windows)

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
    def of_log_mel(cls, recognizer: Recognizer, log_mel: Tensor, targets: Tensor) -> Answer:
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Dreams:
    """The result of an ascent."""

    signal: Tensor  # the best iterate of each item, in the parametrization's own shape
    log_mel: Tensor  # what the network gets of it, (items, n_mels, frames)
    waveform: Tensor | None  # (items, samples) where the parametrization makes sound, else None
    before: Answer  # what the recognizer says of the originals
    after: Answer  # and of `log_mel`
    steps: Tensor  # from the original to `signal`, (items,)
    flip_steps: Tensor  # until the target is first the most probable, (items,); NaN: never
    reached: Tensor  # whether the confidence was, (items,)
    # Of the target before each step and after the last, (steps + 1, items); NaN after an item's
    # stop, and where the network was left early:
    probability_curve: Tensor
    objective_curve: Tensor  # likewise
    item_steps: int  # steps taken, summed over the items: what the run cost
    # Of each watched item its best iterates after some steps, by the steps: waveforms (samples,),
    # or log-mels (n_mels, frames) where dreams are no sound:
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
