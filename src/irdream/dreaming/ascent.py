"""The loop: gradient ascent over octaves and steps, for many items at once.

An item is an original and a target. What is changed is a detail that is added to the original;
at octave k it lives on a grid that is coarser by `octave_ratio ** k` along each axis, and is
interpolated to full size before the recognizer hears it; from one octave to the next it is
carried up. DeepDream (Mordvintsev et al. 2015) shrinks the picture itself; but a shrunk
spectrogram is another sound at another pitch, and not every network takes its size, so here
the network always hears full size.

Each item stops when its target's probability, the mean over its windows, reaches
`confidence`; it then leaves the batch, and its best iterate is kept, reached or not. Items do
not see each other: norms, stops and random streams are their own.

Cost: one forward and one backward pass a step for all windows of the items that are left, in
slices of `slice_windows`, which keep the activations in the CPU's cache; jitter adds a forward
pass, since what is kept is judged without it. Only the gradient of the signal is computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.dreaming.objectives import Heard
from irdream.dreaming.parametrizations import Parametrization
from irdream.dreaming.record import Answer, Dreams, Record
from irdream.dreaming.transforms import jitter_shifts, roll_frames
from irdream.errors import InputError
from irdream.recognizer import Recognizer, window_starts

Objective = Callable[[Heard, Tensor], Tensor]
Direction = Callable[[Tensor], Tensor]
SLICE_WINDOWS = {"cpu": 12, "cuda": 512, "mps": 128}


class _Look(NamedTuple):
    """What one slice of items gave: see `Ascent._look_at`."""

    signal: Tensor
    gradient: Tensor
    score: Tensor
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """How to dream.

    Args:
        parametrization: what is changed.
        objective: what is maximized, (items,) from what was heard and the targets.
        optimizer: gradient (items, ...) -> direction.
        step_size: length of a step, in the parametrization's `step_unit`.
        steps: at most, in each octave.
        octaves: levels, the coarsest first; 1: full size alone.
        octave_ratio: how much coarser each level is, along (mel bands, frames); a waveform
            has the last of them only.
        jitter_frames: largest circular shift in time before each step.
        confidence: probability of the target at which an item stops; None: never.
        slice_windows: windows in one forward pass; None: by the device.
    """

    parametrization: Parametrization
    objective: Objective
    optimizer: Direction
    step_size: float = 0.25
    steps: int = 100
    octaves: int = 1
    octave_ratio: Sequence[float] = (1.4, 1.4)
    jitter_frames: int = 0
    confidence: float | None = 0.9
    slice_windows: int | None = None

    def __post_init__(self) -> None:
        checks: list[tuple[str, object, bool, str]] = [
            ("step_size", self.step_size, self.step_size > 0, "a number above 0"),
            ("steps", self.steps, self.steps >= 1, "at least 1"),
            ("octaves", self.octaves, self.octaves >= 1, "at least 1"),
            (
                "octave_ratio",
                list(self.octave_ratio),
                len(self.octave_ratio) == 2 and min(self.octave_ratio) >= 1,
                "two numbers of at least 1, for mel bands and frames",
            ),
            ("jitter_frames", self.jitter_frames, self.jitter_frames >= 0, "at least 0"),
            (
                "confidence",
                self.confidence,
                self.confidence is None or 0 < self.confidence < 1,
                "a number between 0 and 1, or null",
            ),
        ]
        for name, value, fine, expected in checks:
            if not fine:
                raise InputError(f"dream.{name}={value}; expected {expected}")

    def run(
        self,
        recognizer: Recognizer,
        waveform: Tensor,
        targets: Tensor,
        seeds: Sequence[int],
        on_step: Callable[[Record], None] = lambda record: None,
    ) -> Dreams:
        """Dream all items.

        Args:
            recognizer: left as it was, whatever happens.
            waveform: the originals, (items, samples).
            targets: instrument indices, (items,).
            seeds: of each item's random stream.
            on_step: called after each step with the record so far.

        Raises:
            InputError: when the objective or its gradient is not finite.
        """
        with frozen(recognizer):
            start = self.parametrization.start(recognizer, waveform).detach()
            unit = self.parametrization.step(start, self.step_size)
            shifts = self._shifts(seeds, start.device)
            record = Record(targets, confidence=self.confidence)
            left = torch.arange(len(start), device=start.device)  # the items not finished
            detail = torch.zeros_like(start)
            for step, octave in enumerate(self._schedule()):
                detail = resize(detail, self._grid(start.shape[1:], octave))
                gradient = self._look(recognizer, record, start, detail, left, shifts[step])
                on_step(record)
                going = ~record.finished[left]
                left, detail, gradient = left[going], detail[going], gradient[going]
                if not len(left):
                    return record.dreams()
                detail = detail + unit[left] * self.optimizer(gradient)
            self._look(recognizer, record, start, detail, left, None)
            return record.dreams()

    def _schedule(self) -> list[int]:
        """Return the octave of each step, the coarsest first."""
        return [octave for octave in reversed(range(self.octaves)) for _ in range(self.steps)]

    def _grid(self, shape: torch.Size, octave: int) -> tuple[int, ...]:
        """Return the size of the detail at an octave: full size over the ratios to its power."""
        ratios = tuple(self.octave_ratio)[-len(shape) :]
        return tuple(
            max(2, round(size / ratio**octave)) for size, ratio in zip(shape, ratios, strict=True)
        )

    def _shifts(self, seeds: Sequence[int], device: torch.device) -> Sequence[Tensor | None]:
        steps = self.steps * self.octaves
        if self.jitter_frames == 0:
            return [None] * steps
        shifts = jitter_shifts(seeds, steps=steps, jitter_frames=self.jitter_frames)
        return list(shifts.to(device))

    def _look(
        self,
        recognizer: Recognizer,
        record: Record,
        start: Tensor,
        detail: Tensor,
        left: Tensor,
        shifts: Tensor | None,
    ) -> Tensor:
        """Hear the items that are left, record the answer, return the gradient of `detail`."""
        looks = [
            self._look_at(
                recognizer,
                start[left[rows]],
                detail[rows],
                record.targets[left[rows]],
                None if shifts is None else shifts[left[rows]],
            )
            for rows in self._slices(recognizer, start, len(left))
        ]
        score = torch.cat([look.score for look in looks])
        gradient = torch.cat([look.gradient for look in looks])
        if not bool(torch.isfinite(score).all() & torch.isfinite(gradient).all()):
            raise InputError(
                f"the objective {self.objective!r} or its gradient is not finite at step "
                f"{record.step + 1}; lower dream.step_size={self.step_size:g}"
            )
        signal = torch.cat([look.signal for look in looks])
        record.keep(left, signal, Answer.joined([look.answer for look in looks]), score)
        return gradient

    def _look_at(
        self,
        recognizer: Recognizer,
        start: Tensor,
        detail: Tensor,
        targets: Tensor,
        shifts: Tensor | None,
    ) -> _Look:
        """Hear one slice of items; the answer is on the signal without its jitter."""
        detail = detail.detach().requires_grad_()
        signal = self.parametrization.constrain(start + resize(detail, tuple(start.shape[1:])))
        log_mel = self.parametrization.log_mel(recognizer, signal)
        heard = Heard.of(recognizer, log_mel if shifts is None else roll_frames(log_mel, shifts))
        score = self.objective(heard, targets)
        (gradient,) = torch.autograd.grad(score.sum(), detail)
        if shifts is not None:
            with torch.no_grad():
                heard = Heard.of(recognizer, log_mel)
        answer = Answer.of(recognizer, heard, targets)
        return _Look(signal.detach(), gradient, score.detach(), answer)

    def _slices(self, recognizer: Recognizer, start: Tensor, count: int) -> list[slice]:
        frames = start.shape[-1] if start.ndim == 3 else start.shape[-1] // recognizer.hop_samples
        windows = len(
            window_starts(frames, recognizer.window_frames, recognizer.window_frames // 2)
        )
        most = self.slice_windows or SLICE_WINDOWS.get(start.device.type, 128)
        size = max(1, most // windows)
        return [slice(first, first + size) for first in range(0, count, size)]


def resize(detail: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate (items, ...) linearly to another size of its one or two axes."""
    if tuple(detail.shape[1:]) == tuple(size):
        return detail
    mode = "linear" if detail.ndim == 2 else "bilinear"
    return F.interpolate(detail[:, None], size=size, mode=mode, align_corners=False)[:, 0]


@contextlib.contextmanager
def frozen(recognizer: Recognizer) -> Iterator[None]:
    """Hold a recognizer in eval mode and without gradients in its weights, then undo that."""
    modes = [(module, module.training) for module in recognizer.modules()]
    weights = [(weight, weight.requires_grad) for weight in recognizer.parameters()]
    try:
        recognizer.eval().requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for weight, requires_grad in weights:
            weight.requires_grad_(requires_grad)
