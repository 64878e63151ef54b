"""Where the time went: named phases of one run, in seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


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
        """Return the seconds since the start."""
        return time.perf_counter() - self.started

    def summary(self) -> str:
        """Return one line: the total, then the phases, the longest first, and the rest."""
        total = self.total()
        phases = sorted(self.seconds.items(), key=lambda item: -item[1])
        rest = total - sum(self.seconds.values())
        parts = [f"{phase} {seconds:.1f}" for phase, seconds in [*phases, ("other", rest)]]
        return f"{total:.1f} s: {', '.join(parts)}"
