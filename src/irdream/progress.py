"""Progress bars: on stderr, gone when they are done, silent when nobody watches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
