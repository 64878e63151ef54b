"""What tasks have in common: they read their sounds, and keep what they wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from irdream.datasets.base import Excerpt, warn_skipped
from irdream.datasets.starts import Listed, Start
from irdream.dreaming.targets import Item, plan
from irdream.errors import InputError
from irdream.instruments import in_words
from irdream.recognizer import Recognizer
from irdream.tracking import Tracker


def read_start(
    start: Start, recognizer: Recognizer, purpose: str, *, none: str = "no excerpts"
) -> tuple[list[Excerpt], list[str]]:
    """Return the excerpts of a start, at least one, and a line for each that is left out.

    Raises InputError, which says that there is nothing for the `purpose`, and why.
    """
    excerpts, bad = start.excerpts(
        sample_rate_hz=recognizer.sample_rate_hz, min_seconds=recognizer.window_seconds
    )
    if not excerpts:
        warn_skipped(bad[1:])
        raise InputError(f"nothing to {purpose}: {[*bad, none][0]}")
    return excerpts, bad


def plan_items(
    targets: Sequence[str], excerpts: Listed, *, known: Sequence[str], **settings: Any
) -> list[Item]:
    """Return what excerpts, given by names and labels, are taken toward; see `targets.plan`.

    Raises InputError as that does, and where no excerpt has a label that is `known`.
    """
    names, labels = [name for name, _ in excerpts], [labels for _, labels in excerpts]
    items = plan(targets, names, labels, known=known, **settings)
    if not items:
        raise InputError(
            f"target={targets[0]} and no excerpt has such a label; expected an instrument that the "
            f"recognizer knows: {in_words(known)}"
        )
    return items


def log_results(
    tracker: Tracker,
    metrics: Mapping[str, float],
    folder: Path,
    names: Iterable[str],
    *,
    into: str = "",
) -> None:
    """Log the metrics of a task, and those of the named files and folders that exist."""
    tracker.log_metrics(metrics)
    for path in (folder / name for name in names):
        if path.exists():
            tracker.log_file(path, into)
