"""What audio a run had, kept with it."""

from __future__ import annotations

from collections.abc import Sequence

from irdream.datasets.base import ExcerptFile, common_folder, fingerprint
from irdream.tracking import Tracker


def log_files(tracker: Tracker, name: str, files: Sequence[ExcerptFile], *, context: str) -> None:
    """Keep a data set's fingerprint, folder and size with a run.

    Args:
        tracker: of the run.
        name: of the data set.
        files: those that were used.
        context: what for.
    """
    tracker.log_data(
        name,
        fingerprint(files),
        context=context,
        source=common_folder(files),
        excerpts=len(files),
    )
