"""How far a run is and where its time went: bars on stderr, silent when nobody watches; phases."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.progress import Progress

Item = TypeVar("Item")
Told = Callable[[float], object]


def _progress(*columns: rich.progress.ProgressColumn, shown: bool = True) -> Progress:
    console = Console(stderr=True)
    is_silent = not (shown and console.is_terminal)
    return Progress(*columns, console=console, transient=True, disable=is_silent)


def track(items: Iterable[Item], description: str, *, total: int) -> Iterator[Item]:
    """Yield `items` and show how many of `total` are done."""
    with _progress() as bar:
        yield from bar.track(items, total, description=description)


def byte_bar() -> Progress:
    """Return a bar for bytes: amount, speed and time left."""
    return _progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
    )


@dataclass
class DreamBar:
    """Shows steps and finished items of one batch after the other."""

    bar: Progress
    total: int  # items
    steps: int  # of each, at most
    told: Told = lambda share: None  # is given the share that is done, 0 to 1
    done: int = 0

    def __post_init__(self) -> None:
        self.task = self.bar.add_task("dreaming", total=self.total)

    def show(self, step: int, items: int, finished: int) -> None:
        """Show the present batch: its step, and how many of its items are finished."""
        taken = min(1.0, step / self.steps)  # of the steps that the others may need
        completed = self.done + finished + (items - finished) * taken
        self.bar.update(self.task, completed=completed, description=f"dreaming, step {step}")
        self.told(completed / self.total)

    def writing(self, batch: Sequence[Item]) -> Iterator[Item]:
        """Count a batch as dreamed, and yield its items while they are written."""
        self.done += len(batch)
        for i, item in enumerate(batch, start=1):
            text = f"writing {i} of {len(batch)}"
            self.bar.update(self.task, completed=self.done, description=text)
            self.told(self.done / self.total)
            yield item


@contextlib.contextmanager
def dream_bar(
    total: int, *, steps: int, shown: bool = True, told: Told = lambda share: None
) -> Iterator[DreamBar]:
    """Show the progress of `total` dreams of at most `steps` steps each."""
    with _progress(shown=shown) as bar:
        yield DreamBar(bar, total, steps, told)


class Stopwatch:
    """Adds up wall-clock time by phase; `started`: `time.perf_counter()` then, by default now."""

    def __init__(self, *, started: float | None = None) -> None:
        self.started = time.perf_counter() if started is None else started
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the time inside the block as `phase`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - began

    def total(self) -> float:
        return time.perf_counter() - self.started

    def summary(self) -> str:
        """Return one line: the total, then the phases, the longest first, and the rest."""
        total = self.total()
        phases = sorted(self.seconds.items(), key=lambda item: -item[1])
        rest = total - sum(self.seconds.values())
        parts = [f"{phase} {seconds:.1f}" for phase, seconds in [*phases, ("other", rest)]]
        return f"{total:.1f} s: {', '.join(parts)}"
