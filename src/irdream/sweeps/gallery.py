"""A sweep's dreams as one HTML file: a grid over the swept values, each dream with its player.

Any two of the swept values are rows and columns, others are chosen by selects and sliders; a
list of all dreams is sorted by a measure. The page itself is `irdream.reports.dream_page`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from irdream import instruments
from irdream.reports.dream_page import MAX_DREAMS, PageDream, known_measures, write_page
from irdream.sweeps.job import Job
from irdream.sweeps.overview import Axis, Sweep, dream_axes, dream_table, values_of


def write_gallery(sweep: Sweep, path: Path, *, title: str) -> None:
    """Write the dreams of a sweep as one HTML file that needs no other; none where it has none.

    Where they are too many, each job keeps its first ones; the page says so.

    Args:
        sweep: with its jobs; dreams.csv, sounds/ and more are read from their folders.
        path: of the HTML file.
        title: of the page.

    Raises:
        OSError: from the system (no such folder, no permission, full disk).
    """
    dreams = dream_table(sweep)
    if not len(dreams):
        return
    of_each = max(1, MAX_DREAMS // dreams["number"].nunique())
    rank = dreams.groupby("number").cumcount()  # the first dreams of all jobs first
    chosen = dreams.loc[rank[rank < of_each].sort_values(kind="stable").index].head(MAX_DREAMS)
    axes, folders = dream_axes(sweep, chosen), {job.number: job.files for job in sweep.jobs}
    shown = [
        PageDream(
            folder=folders[row["number"]],
            row=row,
            place={
                "number": row["number"],
                "at": [axis.place(axis.of_dreams[i]) for axis in axes],
            },
        )
        for i, row in enumerate(chosen.to_dict("records"))
    ]
    write_page(
        path,
        shown,
        title=title,
        measures=known_measures(dreams),
        notes=_notes(sweep, dreams, chosen),
        shared=sweep.shared,
        sweep={
            "swept": sum(axis.name in sweep.swept for axis in axes),
            "axes": [_shown_axis(axis) for axis in axes],
        },
        others=_job_entries(sweep, dreams, chosen, axes),
    )


def _shown_axis(axis: Axis) -> dict[str, Any]:
    is_numeric = not any(isinstance(value, str) for value in axis.values)
    texts = [value if isinstance(value, str) else f"{value:.10g}" for value in axis.values]
    if axis.name.startswith("target"):
        texts = [instruments.name(text) for text in texts]
    return {"name": axis.name, "values": texts, "isNumeric": is_numeric}


def _job_entries(
    sweep: Sweep, dreams: pd.DataFrame, chosen: pd.DataFrame, axes: Sequence[Axis]
) -> list[dict[str, Any]]:
    """Return what the page says in the place of jobs that have no dream on it."""
    shown, dreamed = set(chosen["number"]), set(dreams["number"])
    swept = set(sweep.swept)
    return [
        {
            "number": job.number,
            "at": [a.place(values_of(job).get(a.name)) if a.name in swept else None for a in axes],
            "text": "left out" if job.number in dreamed else _what_happened(job),
            "hasFailed": job.status == "failed",
        }
        for job in sweep.jobs
        if job.number not in shown
    ]


def _what_happened(job: Job) -> str:
    if job.status == "failed":
        return f"failed: {(job.error or 'no reason given').removeprefix('error: ')}"
    return "not finished" if job.status == "killed" else "no dreams"


def _notes(sweep: Sweep, dreams: pd.DataFrame, chosen: pd.DataFrame) -> list[str]:
    """Return a line on what the page holds, and one each on what it lacks."""
    failed = sum(job.status == "failed" for job in sweep.jobs)
    notes = [f"{len(sweep.jobs)} jobs, {failed} failed; {len(chosen)} dreams."]
    flags = chosen["unchanged"].tolist() if "unchanged" in chosen else []
    if unchanged := sum(flag is True for flag in flags):
        notes.append(f"{unchanged} of the dreams changed nothing.")
    if lost := len(dreams) - len(chosen):
        notes.append(f"Left out: {lost} of {len(dreams)} dreams; each job's first ones are shown.")
    return notes + [f"Not read: {line}." for line in sweep.damaged]
