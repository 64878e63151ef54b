"""Progress bars: on stderr, gone when they are done, silent when nobody watches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class DreamBar:
    """Shows steps and finished items of one batch after the other.

    `total` items have `steps` each, at most; `told` is given the share that is done, 0 to 1.
    """

    def __init__(
        self, bar: Progress, total: int, steps: int, told: Told = lambda share: None
    ) -> None:
        self.bar, self.done, self.steps, self.total, self.told = bar, 0, steps, total, told
        self.task = bar.add_task("dreaming", total=total)

    def show(self, step: int, items: int, finished: int) -> None:
        """Show the present batch: its steps, and those of its items that are finished."""
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
    """Show how far `total` dreams of so many steps are."""
    with _progress(shown=shown) as bar:
        yield DreamBar(bar, total, steps, told)
