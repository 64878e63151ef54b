"""Make a data set ready, and say what is there: fetch IRMAS, render the embedded data set.

A data set may have `prepare()`, which fetches or renders; after it, or without it, the
excerpts of both parts are counted without decoding any of them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from irdream.datasets.base import DataSet, warn_unlabelled
from irdream.progress import Stopwatch
from irdream.reports.tables import save_table
from irdream.tasks.common import log_results
from irdream.tracking import Tracker

_PARTS = ("training", "test")


def prepare(
    *,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    sample_rate_hz: int = 22_050,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Prepare `dataset`, print what was found, and write `excerpts.csv` (part, label, count).

    Returns `prepare/training_excerpts`, `prepare/training_recordings`, `prepare/test_excerpts` and
    `prepare/test_recordings`. Raises InputError for whatever the data set finds wrong.
    """
    stopwatch = stopwatch or Stopwatch()
    print(f"prepare: {_intended(dataset, sample_rate_hz)}", flush=True)
    if info:
        return {}
    with stopwatch("preparing"):
        if make_ready := getattr(dataset, "prepare", None):
            make_ready()
        parts = {part: dataset.part(part, sample_rate_hz=sample_rate_hz).files for part in _PARTS}
    found = " and ".join(f"{len(files)} {part}" for part, files in parts.items())
    describe = getattr(dataset, "summary", lambda: f"found {found} excerpts")
    print(f"{dataset.name}: {describe()}")
    for part, files in parts.items():
        if part == "training" or files != parts["training"]:  # one folder may be both
            warn_unlabelled(files, f"without use in the {part} part")
    rows = []
    for part, files in parts.items():
        counts = Counter(label for file in files for label in file.labels or ("",))
        rows += [(part, label, count) for label, count in sorted(counts.items())]
    table = pd.DataFrame(rows, columns=["part", "label", "excerpts"])
    save_table(table, output_dir / "excerpts.csv")
    counts = {"excerpts": len, "recordings": lambda files: len({one.recording for one in files})}
    metrics = {
        f"prepare/{part}_{what}": float(count(files))
        for part, files in parts.items()
        for what, count in counts.items()
    }
    log_results(tracker, metrics, output_dir, ["excerpts.csv"])
    return metrics


def _intended(dataset: DataSet, sample_rate_hz: int) -> str:
    """Say what will be done; where nothing must be made first, what can be counted already."""
    first = "makes itself ready" if hasattr(dataset, "prepare") else ""
    if tell := getattr(dataset, "to_prepare", None):
        first = tell()
    if first:
        return f"{dataset.name!r} {first}, then its excerpts are counted"
    counts = [len(dataset.part(part, sample_rate_hz=sample_rate_hz)) for part in _PARTS]
    return f"counts {counts[0]} training and {counts[1]} test excerpts of {dataset.name!r}"
