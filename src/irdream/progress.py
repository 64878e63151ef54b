"""Progress bars: on stderr, gone when they are done, silent when nobody watches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import rich.progress
from rich.console import Console

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, *, total: int) -> Iterator[Item]:
    """Yield `items` and show how many of `total` are done."""
    console = Console(stderr=True)
    yield from rich.progress.track(
        items,
        description,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def byte_bar() -> rich.progress.Progress:
    """Return a bar for bytes: amount, speed and time left."""
    console = Console(stderr=True)
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class DreamBar:
    """Shows steps and finished items of one batch after the other."""

    def __init__(self, bar: rich.progress.Progress, total: int) -> None:
        self.bar, self.done = bar, 0
        self.task = bar.add_task("dreaming", total=total)

    def started(self) -> Callable[[int, int], None]:
        """Return what to call with the steps taken and the items finished in this batch."""

        def show(step: int, finished: int) -> None:
            text = f"dreaming, step {step}"
            self.bar.update(self.task, completed=self.done + finished, description=text)

        return show

    def ended(self, items: int) -> None:
        """Count a batch as done."""
        self.done += items
        self.bar.update(self.task, completed=self.done)


@contextlib.contextmanager
def dream_bar(total: int, *, shown: bool = True) -> Iterator[DreamBar]:
    """Show how many of `total` dreams are finished."""
    console = Console(stderr=True)
    with rich.progress.Progress(
        console=console, transient=True, disable=not (shown and console.is_terminal)
    ) as bar:
        yield DreamBar(bar, total)
