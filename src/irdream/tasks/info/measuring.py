"""Trying a task in small without leaving a trace: files, words, random numbers, times.

The tasks themselves are run, on little, in a temporary folder. Rewriting what they do for the
sake of a measurement was rejected: it would go out of date with the first change of a task.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from irdream.dreaming.ascent import Ascent
from irdream.dreaming.optimizers import as_optimizer
from irdream.dreaming.record import Dreams, Record
from irdream.recognizer import Recognizer
from irdream.stopwatch import Stopwatch

NEVER = 1.0 - 1e-6  # a confidence that is hardly reached
STEPS = 3  # that are measured


@contextlib.contextmanager
def no_trace() -> Iterator[Path]:
    """Give a folder that is gone afterwards, hide what is printed, bring random states back."""
    silent, level = io.StringIO(), logging.root.manager.disable
    with (
        tempfile.TemporaryDirectory(prefix="irdream-") as folder,
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
        _random_states_kept(),
    ):
        logging.disable(logging.ERROR)
        try:
            yield Path(folder)
        finally:
            logging.disable(level)


@contextlib.contextmanager
def _random_states_kept() -> Iterator[None]:
    python, of_numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(of_numpy)


class Laps(Stopwatch):
    """A stopwatch that remembers each time a phase was entered.

    Attributes:
        laps: seconds, by phase.
    """

    def __init__(self) -> None:
        super().__init__()
        self.laps: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the time inside the block as one more lap of `phase`."""
        before = self.seconds.get(phase, 0.0)
        with super().__call__(phase):
            yield
        self.laps.setdefault(phase, []).append(self.seconds[phase] - before)

    def of(self, phase: str) -> list[float]:
        """Return the laps of a phase that may not have been entered."""
        return self.laps.get(phase, [])


@torch.no_grad()
def warm_up(recognizer: Recognizer) -> None:
    """Let a recognizer hear something: the first time takes longer."""
    seconds = 3 * recognizer.window_seconds
    silence = torch.zeros(1, round(seconds * recognizer.sample_rate_hz), device=recognizer.device)
    recognizer.window_logits(recognizer.log_mel(silence))


@dataclass(frozen=True, kw_only=True)
class TimedAscent(Ascent):
    """An ascent that takes a few steps, whatever is heard, and remembers when.

    Attributes:
        times: of the steps, by `time.perf_counter`.
        totals: of the runs, in seconds.
    """

    times: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)

    def run(self, recognizer: Recognizer, *given: Any, **named: Any) -> Dreams:
        """Dream as an ascent does."""
        began = time.perf_counter()
        self.times.clear()
        waveform, targets, seeds, *show = given

        def on_step(record: Record) -> None:
            _wait_for(recognizer.device)
            self.times.append(time.perf_counter())
            if show:
                show[0](record)

        dreams = super().run(recognizer, waveform, targets, seeds, on_step, **named)
        _wait_for(recognizer.device)
        self.totals.append(time.perf_counter() - began)
        return dreams

    @property
    def step_seconds(self) -> float:
        """Return what a step of the last run took."""
        gaps = np.diff(self.times)
        return float(median(gaps)) if len(gaps) else self.totals[-1] / 2

    @property
    def other_seconds(self) -> float:
        """Return what the last run took besides its steps."""
        return max(0.0, self.totals[-1] - len(self.times) * self.step_seconds)


def timed(ascent: Ascent, *, steps: int = STEPS) -> TimedAscent:
    """Return the same ascent, of a few steps at full size."""
    known = {f.name: getattr(ascent, f.name) for f in fields(Ascent)}
    return replace(TimedAscent(**known), **_never_done(ascent), steps=steps + 1)


def short(ascent: Ascent) -> Ascent:
    """Return the same ascent, of one step."""
    return replace(ascent, **_never_done(ascent), steps=1)


def _never_done(ascent: Ascent) -> dict[str, Any]:
    """Return what keeps all items in the batch; some optimizers want a confidence."""
    keeps_goal = ascent.confidence is not None and as_optimizer(ascent.optimizer).needs_goal
    return {
        "confidence": NEVER if keeps_goal else None,
        "patience": None,
        "octaves": 1,
        "drop_finished": False,
    }


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
