"""The loop: gradient ascent over octaves and steps, for many items at once.

An item is an original and a target, with a step size and random numbers of its own. What is
changed are the parameters of a `Parametrization`; at octave k most of them live on a grid that is
coarser by `octave_ratio ** k`, and are carried up from one octave to the next. The network always
gets full size: a shrunk spectrogram, as in DeepDream, is another sound at another pitch.

Items do not see each other. Each stops when its target's probability, the mean over its windows,
reaches `confidence`, or when nothing got better for `patience` steps, and leaves the batch.

Cost: one forward and one backward pass a step for all windows of the items that are left, in slices
that keep to the CPU's cache; random views add a forward pass, since what is kept is judged without
them. Nothing in a step waits for a CUDA device.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

import torch
from annotated_types import Ge, Len
from torch import Tensor

from irdream.arguments import Amount, Count, Positive, Share, checked
from irdream.dreaming.batch import Batch, Evaluation, Originals, joined, numbered, per_item, rows_of
from irdream.dreaming.best import Answer, Best, Dreams, Octave, first_step
from irdream.dreaming.constraints import Constraint, Constraints, listed
from irdream.dreaming.network_checks import log_mel_of
from irdream.dreaming.objectives import ForwardOutput, Objective, as_objective, of_target
from irdream.dreaming.optimizers import MarginStep, State, as_optimizer
from irdream.dreaming.parametrizations import Parametrization, StftGain, check_kinds
from irdream.dreaming.parametrizations.base import Wrapper
from irdream.dreaming.probe import Probe, probing
from irdream.dreaming.random_streams import item_keys, normal, substream
from irdream.dreaming.transforms import Transform
from irdream.errors import InputError, no_class
from irdream.networks import shapes
from irdream.recognizer import Recognizer

Ratio = Annotated[Sequence[Annotated[float, Ge(1)]], Len(2, 2)]  # mel bands, frames
_VIEWS, _START = 0, 1  # substreams of an item
_PARTS = {
    "parametrization": "irdream.dreaming.parametrizations, such as LogMel()",
    "transform": "irdream.dreaming.transforms, such as Jitter(frames=8); Chain([...]) for several",
    "constraint": "irdream.dreaming.constraints, such as MaxChange(db=6)",
}


@checked
@dataclass(frozen=True, kw_only=True)
class Ascent:
    """How to dream; `irdream.dream` says more of each setting."""

    parametrization: Parametrization  # what is changed
    objective: Objective | Callable[[ForwardOutput, Tensor], Tensor]  # what is maximized
    optimizer: Any  # ours; a torch.optim class or partial; a function from gradient to direction
    step_size: Positive = 0.25  # length of a step, in the parametrization's `step_unit`
    steps: Count = 100  # at most, in each octave
    octaves: Count = 1  # levels, the coarsest first; 1: full size alone
    octave_ratio: Ratio = (1.4, 1.4)  # how much coarser each level is; a waveform has the last
    transform: Transform | None = None  # random views before each step; a `Chain` for several
    constraint: Constraint | Sequence[Constraint] | None = None  # several: in their order
    start_noise: Amount = 0.0  # RMS of noise on the start, in step sizes, other for each item
    confidence: Share | None = 0.9  # probability at which an item stops; None: never
    patience: Count | None = None  # steps without a better iterate, in the last octave, likewise
    keep: Literal["best", "last"] = "best"  # of an item's iterates
    slice_windows: Count | None = None  # windows in one forward pass; None: by the device
    mixed_precision: bool = False  # the network in bfloat16, on CUDA

    def __post_init__(self) -> None:
        parts: list[tuple[str, Any, type]] = [
            ("parametrization", self.parametrization, Parametrization),
            *[("transform", one, Transform) for one in [self.transform] if one is not None],
            *[("constraint", one, Constraint) for one in self.constraints],
        ]
        for name, part, kind in parts:
            no_class(name, part)
            if not isinstance(part, kind):
                raise InputError(f"{name}={part!r}; expected an object of {_PARTS[name]}")

    @property
    def constraints(self) -> list[Constraint]:
        return listed(self.constraint)

    def run(
        self,
        recognizer: Recognizer,
        waveform: Tensor | None,
        targets: Tensor,
        seeds: Sequence[int],
        on_step: Callable[[Best], object] = lambda best: None,
        *,
        log_mel: Tensor | None = None,
        step_sizes: Tensor | None = None,
        groups: Tensor | None = None,
        watched: Sequence[int] = (),
        on_octave: Callable[[Octave], None] = lambda octave: None,
    ) -> Dreams:
        """Dream all items.

        Args:
            recognizer: left as it was, whatever happens.
            waveform: the originals, (items, samples); None where only log-mels are known.
            targets: instrument indices, (items,).
            seeds: of each item's random numbers.
            on_step: called after each evaluation with what is kept; True: no further step is made.
            log_mel: the originals, (items, n_mels, frames), where there is no waveform.
            step_sizes: of each item, (items,), in `step_unit`; None: `step_size` for all.
            groups: (items,), equal for items side by side that are scored together; None: alone.
            watched: items whose iterates on the way are kept, see `Dreams.iterates`.
            on_octave: called after each octave.

        Raises:
            InputError: when parts do not fit each other or the network, or a score is not finite.
        """
        log_mel = log_mel if waveform is None else recognizer.log_mel(waveform).detach()
        if log_mel is None:
            raise InputError("nothing to dream on; expected a waveform or a log-mel")
        keys = item_keys(list(seeds), targets.device)
        with self._opened(recognizer) as run:
            originals = Originals(recognizer=recognizer, log_mel=log_mel, keys=keys, sound=waveform)
            batch = run.batch(originals, targets, step_sizes, groups)
            best = Best(
                run.objective, refines=run.optimizer.refines, patience=self.patience,
                keep=self.keep, watched=torch.tensor(list(watched)).to(targets),
                steps=self.steps * self.octaves,
            )  # fmt: skip
            return run.ascend(batch, best, on_step, on_octave)

    def check(self, recognizer: Recognizer) -> None:
        """Raise the InputError of `run` where that can be known before there is an excerpt."""
        with self._opened(recognizer):
            pass

    @contextlib.contextmanager
    def _opened(self, recognizer: Recognizer) -> Iterator[_Run]:
        objective = as_objective(self.objective)
        reads = {"layers": objective.layers, "reads_output": objective.reads_output}
        with probing(recognizer, **reads, mixed_precision=self.mixed_precision) as probe:
            yield _Run(self, probe, objective)


class _Run:
    """One run of an ascent."""

    def __init__(self, ascent: Ascent, probe: Probe, objective: Objective) -> None:
        self.ascent, self.probe, self.objective = ascent, probe, objective
        self.recognizer, self.parametrization = probe.recognizer, ascent.parametrization
        self.optimizer = as_optimizer(ascent.optimizer)
        self.kind: Final = self.parametrization.acts_on
        self.constraints = Constraints(ascent.constraints, self.parametrization.kinds)
        self.confidence = ascent.confidence if objective.reads_output else None
        self.goal = self.optimizer.goal(objective, self.confidence)

    def ascend(
        self,
        batch: Batch,
        best: Best,
        on_step: Callable[[Best], object],
        on_octave: Callable[[Octave], None],
    ) -> Dreams:
        """Take all steps, and return the best iterates."""
        ascent, optimizer, all_items = self.ascent, self.optimizer, batch
        for octave in reversed(range(ascent.octaves)):  # the coarsest first; 0 is full size
            batch = self._regridded(batch, octave)
            state = optimizer.start(batch.parameters)
            for step in range(1, ascent.steps + 1):
                seen = self._evaluated(batch, best.step + 1)
                best.update(batch, seen)
                if on_step(best) is True:
                    return self._result(all_items, best)
                rows = best.leave(batch, seen, last_octave=octave == 0)
                if rows is not None:
                    batch, seen = rows_of(batch, rows), rows_of(seen, rows)
                    state = optimizer.pick(state, rows)
                if not len(batch.items):
                    break
                batch = self._stepped(batch, seen, state, step)
            kept = best.of_all()
            on_octave(Octave(octave, kept.signal, kept.steps, kept.reached))
            if not len(batch.items):
                break
        else:
            best.update(batch, self._evaluated(batch, best.step + 1, gradient=False))
        return self._result(all_items, best)

    def _evaluated(self, batch: Batch, step: int, gradient: bool = True) -> Evaluation:
        """Evaluate a batch, a slice of items at a time."""
        slices = self._slices(batch)
        parts = [rows_of(batch, rows) for rows in slices] if len(slices) > 1 else [batch]
        return joined([self.evaluate(part, step, gradient) for part in parts])

    def evaluate(self, batch: Batch, step: int, gradient: bool) -> Evaluation:
        """Return the score of the items in a random view, its gradient, and the network's answer.

        parameters -> signal -> constraints -> log-mel -> view -> network -> objective -> gradient
        """
        start, keys, view = batch.start, batch.keys, self.ascent.transform
        with torch.set_grad_enabled(gradient):
            parameters = batch.parameters.detach().requires_grad_(gradient)
            signal = self.parametrization.signal(start, parameters)
            signal = self.constraints.project(self.kind, signal, start, batch.held)
            waveform, log_mel = self._input_of(signal, batch)
            views = view and (lambda x, n: view(x, substream(keys, n) if n else keys, step))
            logits, activations = self.probe(log_mel, view=views)
            logs = self.recognizer.log_probabilities(logits)
            output = ForwardOutput(
                logits=logits, log_probabilities=logs, activations=activations, log_mel=log_mel,
                start=start.log_mel, signal=signal, waveform=waveform, start_waveform=start.sound,
                prepared=batch.prepared, items=batch.items, groups=batch.groups,
            )  # fmt: skip
            score = self._score(output, batch.targets)
            slope = score.new_empty(len(score), 0)
            if gradient:
                (slope,) = torch.autograd.grad(score.sum(), parameters)
        score, logits, logs = score.detach(), logits.detach(), logs.detach()
        probability = on_top = torch.full_like(score, torch.nan)
        if self.objective.reads_output:
            if view:  # what is kept is judged without it
                with torch.no_grad():
                    logits, _ = self.probe(log_mel)
                    logs = self.recognizer.log_probabilities(logits)
            probability = of_target(logs, batch.targets).exp().mean(dim=1)
            on_top = (logs.exp().mean(dim=1).argmax(dim=1) == batch.targets).to(probability.dtype)
        return Evaluation(
            signal=signal.detach(), score=score, probability=probability, on_top=on_top,
            reached=(on_top == 1) & (probability >= (self.confidence or math.inf)),
            logits=logits, gradient=slope, goal=self.goal,
        )  # fmt: skip

    def _score(self, output: ForwardOutput, targets: Tensor) -> Tensor:
        """Return the objective's scores, (items,); raise InputError for anything else."""
        score = self.objective(output, targets)
        if not isinstance(score, Tensor) or score.shape != targets.shape:
            raise InputError(
                f"objective {self.objective!r} gave {shapes(score)}; expected a tensor with a "
                f"value for each item, {tuple(targets.shape)}: (items,)"
            )
        if torch.is_grad_enabled() and not score.requires_grad:
            raise InputError(
                f"objective {self.objective!r} gave values without a gradient; expected a function "
                "of the network's output or of the log-mel, and a network, without torch.no_grad, "
                "detach, argmax or a detour through NumPy"
            )
        return score

    def _stepped(self, batch: Batch, seen: Evaluation, state: State, step: int) -> Batch:
        start = batch.start
        signal = self.constraints.after_step(self.kind, seen.signal, start, batch.held, step)
        if signal is not None:
            parameters = self.parametrization.absorb(start, batch.parameters, signal)
            batch = replace(batch, parameters=parameters)
        return replace(batch, parameters=self.optimizer.step(batch, seen, state))

    def _regridded(self, batch: Batch, octave: int) -> Batch:
        coarser = [ratio**octave for ratio in self.ascent.octave_ratio]
        parameters, undreamed = (
            self.parametrization.regrid(batch.start, x, coarser)
            for x in (batch.parameters, batch.undreamed)
        )
        return replace(batch, parameters=parameters, undreamed=undreamed)

    def _slices(self, batch: Batch) -> list[slice]:
        groups = batch.groups if self.objective.needs_whole_groups else None
        return self.probe.slices(batch.start.log_mel, self.ascent.slice_windows, groups)

    def _input_of(self, signal: Tensor, batch: Batch) -> tuple[Tensor | None, Tensor]:
        """Return the sound of a signal, if it makes any, and the log-mel for the network."""
        waveform = self.parametrization.waveform(batch.start, signal)
        if waveform is None:
            return None, signal
        if self.kind == "spectrogram":
            waveform = self.constraints.project("sound", waveform, batch.start, batch.held)
        return waveform, log_mel_of(self.recognizer, waveform)

    @torch.no_grad()
    def batch(
        self, originals: Originals, targets: Tensor, sizes: Tensor | None, groups: Tensor | None
    ) -> Batch:
        """Return all items, undreamed; arguments as of `Ascent.run`."""
        ascent, keys, parametrization = self.ascent, originals.keys, self.parametrization
        check_kinds(parametrization, originals)
        start = parametrization.start(originals)
        undreamed, unit = parametrization.parameters(start), parametrization.unit(start)
        step = (ascent.step_size if sizes is None else per_item(sizes.to(unit), unit)) * unit
        parameters = undreamed
        if ascent.start_noise:
            noise = normal(substream(keys, _START), 0, *undreamed.shape[1:]).to(undreamed)
            parameters = undreamed + ascent.start_noise * step * noise
        items = torch.arange(len(keys), device=keys.device)
        return Batch(
            items=items, start=start, parameters=parameters, undreamed=undreamed, unit=unit,
            step=step, targets=targets, keys=substream(keys, _VIEWS),
            groups=items if groups is None else numbered(groups),
            held=self.constraints.prepare(start),
            prepared=self.objective.prepare(self.probe.activations, originals),
        )  # fmt: skip

    @torch.no_grad()
    def _result(self, batch: Batch, best: Best) -> Dreams:
        """Return the best iterates of all items, with the network's answers to them."""
        best.check_finite(batch)
        kept, targets, reads_output = best.of_all(), batch.targets, self.objective.reads_output
        is_known = reads_output and best.began_undreamed and self.parametrization.from_original
        parts: list[list[Any]] = []
        for rows in self._slices(batch):
            items = rows_of(batch, rows)
            sound, log_mel = self._input_of(kept.signal[rows], items)
            before = None if is_known else self.probe(items.start.log_mel, output=True)[0]
            after = None if reads_output else self.probe(log_mel, output=True)[0]
            parts.append([sound, log_mel, before, after])
        waveform, dreamed, before, after = joined(parts)
        iterates: dict[int, dict[int, Tensor]] = {int(i): {} for i in best.watched}
        for step, signal in best.on_the_way.items():
            sound, log_mel = self._input_of(signal, rows_of(batch, best.watched))
            for i, one in zip(iterates, log_mel if sound is None else sound, strict=True):
                iterates[i][step] = one
        probability, objective, on_top = best.curves()
        return Dreams(
            signal=kept.signal, log_mel=dreamed, waveform=waveform,
            before=Answer.of(self.recognizer, best.first_logits if is_known else before, targets),
            after=Answer.of(self.recognizer, kept.logits if reads_output else after, targets),
            steps=kept.steps, flip_steps=first_step(on_top, 1.0), reached=kept.reached,
            probability_curve=probability, objective_curve=objective,
            item_steps=best.item_steps, iterates=iterates,
        )  # fmt: skip


ENOUGH = 0.93  # of the target, where a quiet dream stops: 0.9, and what a WAV may lose
QUIET_STEP = 0.25  # length of its steps, as a factor, so that it does not overshoot
FACTORS = {"quiet": 1.0, "clear": 1.0, "strong": 1.5}

Strength = Literal["quiet", "clear", "strong"] | Positive | None


@checked
def with_strength(ascent: Ascent, strength: Strength = None) -> Ascent:
    """Return an ascent whose dreams are weaker or stronger.

    Args:
        ascent: how to dream; left as it is.
        strength: below 1 a factor of the steps; above 1 of the largest gain on the spectrum, in dB,
            or where there is no gain of the steps, all of which are then taken, but by optimizers
            that aim at the confidence. "strong" is 1.5: 22.5 dB instead of 15. "clear" is 1;
            "quiet" takes steps a quarter as long and stops where the target has a probability of
            0.93. None: as it is.
    """
    if strength is None:
        return ascent
    factor = FACTORS[strength] if isinstance(strength, str) else strength
    is_quiet = strength == "quiet"
    larger = _with_gain(ascent.parametrization, factor) if factor > 1.0 else None
    goes_on = factor > 1.0 and not larger and not isinstance(ascent.optimizer, MarginStep)
    return replace(
        ascent,
        steps=ascent.steps if larger else max(1, round(ascent.steps * factor)),
        step_size=ascent.step_size * (QUIET_STEP if is_quiet else 1.0),
        confidence=ENOUGH if is_quiet else None if goes_on else ascent.confidence,
        parametrization=larger or ascent.parametrization,
    )


def _with_gain(parametrization: Parametrization, factor: float) -> Parametrization | None:
    """Return a copy whose gain may be larger; None where it has no gain."""
    if type(parametrization) is StftGain:  # a mask, which is one, has no largest gain
        return replace(parametrization, max_gain_db=parametrization.max_gain_db * factor)
    if not isinstance(parametrization, Wrapper):
        return None
    inner = _with_gain(parametrization.of, factor)
    return replace(parametrization, of=inner) if inner else None
