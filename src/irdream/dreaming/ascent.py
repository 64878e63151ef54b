"""The loop: gradient ascent over octaves and steps, for many items at once.

An item is an original and a target, with a step size and random numbers of its own. What is
changed are the parameters of a `Parametrization`; at octave k most of them live on a grid that is
coarser by `octave_ratio ** k` along each axis, and from one octave to the next they are carried
up. DeepDream (Mordvintsev et al. 2015) shrinks the picture itself; but a shrunk spectrogram is
another sound at another pitch, and not every network takes its size, so here the network always
hears full size.

Items do not see each other. Each stops when its target's probability, the mean over its windows,
reaches `confidence`, or when nothing got better for `patience` steps; it then leaves the batch,
and its best iterate is kept, reached or not.

Cost: one forward and one backward pass a step for all windows of the items that are left, in
slices of `slice_windows`, which keep the activations in the CPU's cache; random views add a
forward pass, since what is kept is judged without them. Only the gradient of the parameters is
computed. Nothing in a step waits for a CUDA device: how many items are left is asked in one step
and read in a later one.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, NoReturn

import torch
from torch import Tensor

from irdream.dreaming.batch import Batch, Originals, Start, numbered, rows_of
from irdream.dreaming.constraints.base import Constraint, Constraints
from irdream.dreaming.deferred import DeferredRead
from irdream.dreaming.objectives import ForwardOutput, Objective, as_objective, of_target
from irdream.dreaming.optimizers import State, StepContext, as_optimizer
from irdream.dreaming.parametrizations import Parametrization
from irdream.dreaming.probe import Probe, probing
from irdream.dreaming.random_streams import item_keys, normal, substream
from irdream.dreaming.record import Answer, Dreams, Record, Stops, first_step
from irdream.dreaming.transforms import Transform
from irdream.errors import InputError
from irdream.recognizer import Recognizer, window_starts

SLICE_WINDOWS = {"cpu": 12, "cuda": 512, "mps": 128}
_VIEWS, _START = 0, 1  # substreams of an item


class Octave(NamedTuple):
    """What is told after each octave.

    Attributes:
        index: 0 is full size; the coarsest comes first.
        signal: the best iterates so far, (items, ...).
        steps: from the originals to them, (items,).
        reached: whether they have the confidence, (items,).
    """

    index: int
    signal: Tensor
    steps: Tensor
    reached: Tensor


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """How to dream.

    Args:
        parametrization: what is changed.
        objective: what is maximized: an `Objective`, or a function (items,) of what was heard
            and of the targets.
        optimizer: an `Optimizer`, a torch.optim class or partial of one (its learning rate is the
            step size), or a function from gradient to direction.
        step_size: length of a step, in the parametrization's `step_unit`.
        steps: at most, in each octave.
        octaves: levels, the coarsest first; 1: full size alone.
        octave_ratio: how much coarser each level is, along (mel bands, frames); a waveform
            has the last of them only.
        transform: random views before each step.
        constraint: what every iterate obeys, one or several in their order.
        start_noise: RMS of noise added to the start, in step sizes, other for each item.
        confidence: probability of the target at which an item stops; None: never.
        patience: steps without a better iterate after which an item stops, in the last octave;
            None: never.
        keep: of an item's iterates the "best", or the "last", as DeepDream does.
        drop_finished: False: finished items are computed on, for comparison.
        slice_windows: windows in one forward pass; None: by the device.
        mixed_precision: the network in bfloat16, on CUDA.
    """

    parametrization: Parametrization
    objective: Objective | Callable[[ForwardOutput, Tensor], Tensor]
    optimizer: Any
    step_size: float = 0.25
    steps: int = 100
    octaves: int = 1
    octave_ratio: Sequence[float] = (1.4, 1.4)
    transform: Transform | None = None
    constraint: Constraint | Sequence[Constraint] | None = None
    start_noise: float = 0.0
    confidence: float | None = 0.9
    patience: int | None = None
    keep: Literal["best", "last"] = "best"
    drop_finished: bool = True
    slice_windows: int | None = None
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        ratio = self.octave_ratio
        checks: list[tuple[str, object, bool, str]] = [
            ("step_size", self.step_size, self.step_size > 0, "a number above 0"),
            ("steps", self.steps, self.steps >= 1, "at least 1"),
            ("octaves", self.octaves, self.octaves >= 1, "at least 1"),
            (
                "octave_ratio",
                list(ratio),
                len(ratio) == 2 and min(ratio) >= 1,
                "two numbers of at least 1, for mel bands and frames",
            ),
            ("start_noise", self.start_noise, self.start_noise >= 0, "at least 0"),
            (
                "confidence",
                self.confidence,
                self.confidence is None or 0 < self.confidence < 1,
                "a number between 0 and 1, or null",
            ),
            (
                "patience",
                self.patience,
                self.patience is None or self.patience >= 1,
                "at least 1, or null",
            ),
            ("keep", self.keep, self.keep in ("best", "last"), "best or last"),
        ]
        for name, value, fine, expected in checks:
            if not fine:
                raise InputError(f"dream.{name}={value}; expected {expected}")

    def run(
        self,
        recognizer: Recognizer,
        waveform: Tensor | None,
        targets: Tensor,
        seeds: Sequence[int],
        on_step: Callable[[Record], object] = lambda record: None,
        *,
        log_mel: Tensor | None = None,
        step_sizes: Tensor | None = None,
        groups: Tensor | None = None,
        on_octave: Callable[[Octave], None] = lambda octave: None,
    ) -> Dreams:
        """Dream all items.

        Args:
            recognizer: left as it was, whatever happens.
            waveform: the originals, (items, samples); None where only log-mels are known.
            targets: instrument indices, (items,).
            seeds: of each item's random numbers.
            on_step: called after each step with the record so far; when it returns True, no
                further step is made.
            log_mel: the originals, (items, n_mels, frames), where there is no waveform.
            step_sizes: of each item, (items,), in `step_unit`; None: `step_size` for all.
            groups: (items,), equal for items whose objective depends on each other, side by
                side; None: each its own.
            on_octave: called after each octave.

        Raises:
            InputError: when the objective or its gradient is not finite, when the optimizer or
                a constraint does not fit the objective or the parametrization, or for layers
                that the network does not have.
        """
        with self._opened(recognizer) as run:
            batch = run.batch(waveform, log_mel, targets, seeds, step_sizes, groups)
            return run.dream(batch, on_step, on_octave)

    def check(self, recognizer: Recognizer) -> None:
        """Raise the InputError of `run` where that can be known before there is an excerpt."""
        with self._opened(recognizer):
            pass

    @contextlib.contextmanager
    def _opened(self, recognizer: Recognizer) -> Iterator[_Run]:
        objective = as_objective(self.objective)
        with probing(
            recognizer,
            layers=objective.layers,
            reads_output=objective.reads_output,
            mixed_precision=self.mixed_precision and recognizer.device.type == "cuda",
        ) as probe:
            yield _Run(self, probe, objective)


class _Look(NamedTuple):
    """What some items gave in one step."""

    signal: Tensor
    score: Tensor
    probability: Tensor
    on_top: Tensor
    reached: Tensor
    logits: Tensor | None
    gradient: Tensor | None


class _Run:
    """One run of an ascent: what does not change between its steps."""

    def __init__(self, ascent: Ascent, probe: Probe, objective: Objective) -> None:
        self.ascent, self.probe, self.objective = ascent, probe, objective
        self.recognizer = probe.recognizer
        self.parametrization = ascent.parametrization
        self.optimizer = as_optimizer(ascent.optimizer)
        given = ascent.constraint or ()
        constraints = [given] if isinstance(given, Constraint) else list(given)
        self.constraints = Constraints(constraints, self.parametrization.kinds)
        self.view = ascent.transform
        self.undreamed_first = False  # whether the first iterates are the originals
        self.confidence = ascent.confidence if objective.reads_output else None
        self.goal = None
        if self.confidence is not None:
            odds = self.confidence / (1.0 - self.confidence) * math.exp(self.optimizer.overshoot)
            self.goal = objective.goal(odds / (1.0 + odds))
        if self.goal is None and self.optimizer.needs_goal:
            raise InputError(
                f"optimizer {self.optimizer!r} needs to know how far the confidence is, which "
                f"objective {objective!r} with dream.confidence={self.confidence} does not tell; "
                "choose objective=log_probability, probability or margin, and a confidence"
            )

    # Setting up -----------------------------------------------------------------------------

    @torch.no_grad()
    def batch(
        self,
        waveform: Tensor | None,
        log_mel: Tensor | None,
        targets: Tensor,
        seeds: Sequence[int],
        step_sizes: Tensor | None,
        groups: Tensor | None,
    ) -> Batch:
        """Return all items, undreamed."""
        keys = item_keys(list(seeds), targets.device)
        if waveform is not None:
            log_mel = self.recognizer.log_mel(waveform)
        if log_mel is None:
            raise InputError("nothing to dream on; expected a waveform or a log-mel")
        start = self._start(Originals(log_mel=log_mel, keys=keys, sound=waveform))
        held = self.constraints.prepare(self.recognizer, start)
        undreamed = self.parametrization.parameters(start)
        unit = self.parametrization.unit(start)
        step = self.ascent.step_size * unit
        if step_sizes is not None:
            step = step_sizes.to(unit).view(-1, *(1,) * (unit.ndim - 1)) * unit
        parameters = undreamed
        if self.ascent.start_noise:
            noise = normal(substream(keys, _START), 0, *undreamed.shape[1:]).to(undreamed)
            parameters = undreamed + self.ascent.start_noise * step * noise
        if self.parametrization.from_original:
            first = self.parametrization.signal(start, parameters)
            kind = self.parametrization.acts_on
            first = self.constraints.project(kind, first, start, held)
            self.undreamed_first = torch.equal(first, start.signal)
        return Batch(
            start=start,
            held=held,
            prepared=self.objective.prepare(self.recognizer, self.probe.activations, start),
            parameters=parameters,
            undreamed=undreamed,
            unit=unit,
            step=step,
            targets=targets,
            keys=substream(keys, _VIEWS),
            groups=numbered(torch.arange(len(keys), device=keys.device), groups),
        )

    def _start(self, originals: Originals) -> Start:
        """Return what the parametrization starts from."""
        if originals.log_mel.ndim == 2 and "spectrogram" in self.parametrization.kinds:
            raise InputError(
                f"{type(self.parametrization).__name__} dreams spectrograms, and this network "
                "hears waveforms; expected Waveform()"
            )
        return self.parametrization.start(self.recognizer, originals)

    # The loop -------------------------------------------------------------------------------

    def dream(
        self,
        batch: Batch,
        on_step: Callable[[Record], object],
        on_octave: Callable[[Octave], None],
    ) -> Dreams:
        """Take all steps."""
        ascent, everything = self.ascent, batch
        stops = Stops(
            patience=ascent.patience,
            seeks_least_change=self.optimizer.seeks_least_change,
            keeps_last=ascent.keep == "last",
        )
        record, deferred = Record(batch.targets, stops), DeferredRead(batch.targets.device)
        for octave in reversed(range(ascent.octaves)):
            coarser = tuple(ratio**octave for ratio in ascent.octave_ratio)
            regrid = self.parametrization.regrid
            batch = replace(
                batch,
                undreamed=regrid(batch.start, batch.undreamed, coarser),
                parameters=regrid(batch.start, batch.parameters, coarser),
            )
            state = self.optimizer.start(batch.parameters)
            for step in range(1, ascent.steps + 1):
                look = self._look(batch, record)
                if on_step(record) is True:
                    return self._result(everything, record)
                record.apply_patience(last_octave=octave == 0)
                batch, look, state = self._drop_finished(batch, look, state, record, deferred)
                if not len(record.items):
                    break
                batch = self._step(batch, look, state, step)
                record.item_steps += len(record.items)
            on_octave(_told(octave, record))
            if not len(record.items):
                break
        else:
            self._look(batch, record, gradient=False)
        return self._result(everything, record)

    def _look(self, batch: Batch, record: Record, *, gradient: bool = True) -> _Look:
        """Hear the items that are left and record what is heard."""
        step, items = record.step + 1, record.items
        parts = [self._look_at(batch, rows, items, step, gradient) for rows in self._slices(batch)]
        look = parts[0]
        if len(parts) > 1:
            columns = zip(*parts, strict=True)
            look = _Look(*(None if c[0] is None else torch.cat(c) for c in columns))  # type: ignore[arg-type]
        change = None
        if self.optimizer.seeks_least_change:
            moved = (batch.parameters - batch.undreamed) / batch.unit
            change = moved.flatten(1).square().mean(dim=1).sqrt()
        record.keep(
            look.signal,
            look.logits,
            look.score,
            look.probability,
            look.reached,
            change,
            on_top=look.on_top,
        )
        return look

    def _look_at(
        self, batch: Batch, rows: slice, items: Tensor, step: int, gradient: bool
    ) -> _Look:
        """Hear one slice of items; the answer is on the dream, not on its random view."""
        if rows != slice(None):
            batch, items = rows_of(batch, rows), items[rows]
        start, targets = batch.start, batch.targets
        with torch.set_grad_enabled(gradient):
            parameters = batch.parameters.detach().requires_grad_(gradient)
            signal = self._projected(batch, self.parametrization.signal(start, parameters))
            waveform, log_mel = self._heard_of(start, batch.held, signal)
            viewed = log_mel if self.view is None else self.view(log_mel, batch.keys, step)
            logits, activations = self.probe(viewed)
            heard = ForwardOutput(
                logits=log_mel[:0] if logits is None else logits,
                log_probabilities=(
                    log_mel[:0] if logits is None else self.recognizer.log_probabilities(logits)
                ),
                activations=activations,
                log_mel=log_mel,
                start=start.log_mel,
                waveform=waveform,
                start_waveform=start.sound,
                prepared=batch.prepared,
                items=items,
                groups=batch.groups,
            )
            score = self.objective(heard, targets)
            slope = torch.autograd.grad(score.sum(), parameters)[0] if gradient else None
        with torch.no_grad():
            if logits is None:
                unknown = torch.full_like(score, torch.nan)
                never = unknown > 0
                return _Look(signal.detach(), score.detach(), unknown, unknown, never, None, slope)
            logs = heard.log_probabilities
            if self.view is not None:
                logits = self.probe(log_mel)[0]
                logs = self.recognizer.log_probabilities(logits)  # type: ignore[arg-type]
            probability = of_target(logs, targets).exp().mean(dim=1)
            on_top = logs.exp().mean(dim=1).argmax(dim=1) == targets
            reached = self._reached(probability, on_top)
        return _Look(
            signal.detach(),
            score.detach(),
            probability,
            on_top.to(probability.dtype),
            reached,
            logits.detach(),  # type: ignore[union-attr]
            slope,
        )

    def _drop_finished(
        self, batch: Batch, look: _Look, state: State, record: Record, deferred: DeferredRead
    ) -> tuple[Batch, _Look, State]:
        """Take the finished items out of the batch, as soon as it is known how many there are."""
        left = record.alive
        if self.objective.needs_whole_groups:  # a group is left while one of its items is
            counts = torch.zeros(len(record.targets), device=left.device)
            left = counts.index_add_(0, batch.groups, left.float())[batch.groups] > 0
        assert look.gradient is not None
        told = deferred.read(left.sum(), (look.score.sum() + look.gradient.sum()).isfinite())
        if told is None:
            return batch, look, state
        count, finite = told
        if not finite:
            self._refuse(batch, record)
        if count == len(left) or (count and not self.ascent.drop_finished):
            return batch, look, state
        order = (~left).to(torch.int8).argsort(stable=True)
        record.drop(order[count:], order[:count])
        rows = order[:count]
        look = _Look(*(None if part is None else part[rows] for part in look))  # type: ignore[arg-type]
        return rows_of(batch, rows), look, self.optimizer.pick(state, rows)

    def _refuse(self, batch: Batch, record: Record) -> NoReturn:
        """Raise an InputError on an objective or a gradient that is not finite."""
        step = record.first_broken()
        step = record.step if step is None else step
        remedy = "that is at the start: check what the network makes of it"
        if step:
            remedy = f"lower dream.step_size={float((batch.step / batch.unit).max()):g}"
        raise InputError(
            f"the objective {self.objective!r} or its gradient is not finite at step {step}; "
            f"{remedy}"
        )

    def _step(self, batch: Batch, look: _Look, state: State, step: int) -> Batch:
        """Change the parameters."""
        parameters, kind = batch.parameters, self.parametrization.acts_on
        signal = self.constraints.after_step(kind, look.signal, batch.start, batch.held, step)
        if signal is not None:
            parameters = self.parametrization.absorb(batch.start, parameters, signal)
        view = StepContext(
            score=look.score,
            goal=self.goal,
            reached=look.reached,
            origin=batch.undreamed,
            unit=batch.unit,
            step=batch.step,
        )
        assert look.gradient is not None
        parameters = self.optimizer.step(parameters, look.gradient, view, state)
        return replace(batch, parameters=parameters)

    # What is heard --------------------------------------------------------------------------

    def _projected(self, batch: Batch, signal: Tensor) -> Tensor:
        """Return the signal that obeys the constraints."""
        kind = self.parametrization.acts_on
        return self.constraints.project(kind, signal, batch.start, batch.held)

    def _heard_of(
        self, start: Start, held: Sequence[dict[str, Any]], signal: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Return the sound, where there is one, and the log-mel of a signal."""
        waveform = self.parametrization.waveform(self.recognizer, start, signal)
        if waveform is not None and self.parametrization.acts_on == "spectrogram":
            waveform = self.constraints.project("sound", waveform, start, held)
        return waveform, self.parametrization.log_mel(self.recognizer, start, signal, waveform)

    def _reached(self, probability: Tensor, on_top: Tensor) -> Tensor:
        if self.confidence is None:
            return torch.zeros_like(on_top)
        return on_top & (probability >= self.confidence)

    def _slices(self, batch: Batch) -> list[slice]:
        """Return slices of items with about `slice_windows` windows each."""
        recognizer, log_mel = self.recognizer, batch.start.log_mel
        hop_frames = max(1, recognizer.window_frames // 2)
        windows = len(window_starts(log_mel.shape[-1], recognizer.window_frames, hop_frames))
        most = self.ascent.slice_windows or SLICE_WINDOWS.get(log_mel.device.type, 128)
        size, count = max(1, most // windows), len(log_mel)
        if count <= size:
            return [slice(None)]
        if not self.objective.needs_whole_groups:
            size = math.ceil(count / math.ceil(count / size))  # slices of one size
            return [slice(first, first + size) for first in range(0, count, size)]
        groups = batch.groups.tolist()
        ends = [i for i in range(1, count) if groups[i] != groups[i - 1]] + [count]
        firsts = [0]
        for end, following in pairwise([*ends, count + size]):
            if following - firsts[-1] > size:
                firsts.append(end)
        return [slice(first, end) for first, end in pairwise(firsts)]

    @torch.no_grad()
    def _result(self, batch: Batch, record: Record) -> Dreams:
        """Return what was kept of all items, and what is heard of it."""
        if record.first_broken() is not None:  # in the last steps, whose deferred were not read
            self._refuse(batch, record)
        kept = record.kept()
        from_output = self.objective.reads_output
        log_mels, sounds, before, after = [], [], [], []
        for rows in self._slices(batch):
            start, held = rows_of(batch.start, rows), rows_of(batch.held, rows)
            sound, log_mel = self._heard_of(start, held, kept["signal"][rows])
            log_mels.append(log_mel)
            sounds.append(sound)
            if not (from_output and self.undreamed_first):
                before.append(self.probe(start.log_mel, output=True)[0])
            if not from_output:
                after.append(self.probe(log_mel, output=True)[0])
        answer = functools.partial(Answer.of, self.recognizer, targets=batch.targets)
        probability_curve, objective_curve, on_top_curve = record.curves()
        return Dreams(
            signal=kept["signal"],
            log_mel=torch.cat(log_mels),
            waveform=None if sounds[0] is None else torch.cat(sounds),
            before=answer(torch.cat(before) if before else record.first_logits),
            after=answer(torch.cat(after) if after else kept["logits"]),
            steps=kept["steps"],
            flip_steps=first_step(on_top_curve, 1.0),
            reached=kept["reached"],
            probability_curve=probability_curve,
            objective_curve=objective_curve,
            item_steps=record.item_steps,
        )


def _told(octave: int, record: Record) -> Octave:
    kept = record.kept()
    return Octave(octave, kept["signal"], kept["steps"], kept["reached"])
