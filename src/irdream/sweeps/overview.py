"""A sweep read back from what its jobs left, and what compares them: table, figures, gallery.

In the gallery any two of the swept values are rows and columns, others are chosen by selects and
sliders, and a list of all dreams is sorted by a measure. The page itself is
`irdream.reports.dream_page`.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from irdream import instruments
from irdream.datasets.base import counted
from irdream.measures.table import HEADLINES
from irdream.reports.attributions import means_rows, methods_markdown, methods_table, of_methods
from irdream.reports.dream_page import (
    DREAMS,
    MAPS,
    MAX_DREAMS,
    PageDream,
    known_measures,
    write_page,
)
from irdream.reports.figures import save_figure
from irdream.reports.pages import write_text
from irdream.reports.sweep_figures import Value, heat_map_figure, ordered, sweep_curve_figure
from irdream.reports.tables import save_table
from irdream.sweeps.job import Job, read_jobs

FOLDER = "overview"  # below the sweep's
FILES = ("jobs.csv", "heat_map.png", "curves.png", "methods.csv", "methods.md", "gallery.html")
TEXT_COLUMNS = ("name", "labels", "target", "file")  # of dreams.csv
SANITY = "attribute/sanity"
WITHIN_JOB = ("target", "step_size", "budget_db", "variation")  # lists of these are one job


@dataclass(kw_only=True)
class SweepResult:
    """The jobs of a sweep by number, and a line for each whose file cannot be read."""

    jobs: Sequence[Job]
    damaged: Sequence[str] = ()

    @functools.cached_property
    def swept(self) -> list[str]:
        """The keys whose values differ between jobs, in the order they were typed."""
        values = [values_of(job) for job in self.jobs]
        keys = dict.fromkeys(key for one in values for key in one)
        return [key for key in keys if len({one.get(key) for one in values}) > 1]

    @property
    def shared(self) -> list[str]:
        """The overrides that all jobs have in common."""
        words = self.jobs[0].overrides if self.jobs else ()
        return [word for word in words if word.lstrip("+~").split("=")[0] not in self.swept]

    def values(self, key: str) -> list[Value]:
        """Return the values of a key: numbers from the least, then words as they were typed."""
        return ordered(found[key] for found in map(values_of, self.jobs) if key in found)

    def is_numeric(self, key: str) -> bool:
        """Tell whether every job has a number for this key."""
        return all(not isinstance(values_of(job).get(key, ""), str) for job in self.jobs)


class Axis(NamedTuple):
    """A setting that differs between dreams: name, values in order, and each dream's value."""

    name: str
    values: Sequence[Value]
    of_dreams: Sequence[Value | None]

    def place(self, value: Value | None) -> int | None:
        """Return which of the values this is; None when it is none of them."""
        return self.values.index(value) if value in self.values else None

    def shown(self) -> dict[str, Any]:
        """Return its name, its values as texts, and whether they are numbers."""
        texts = [value if isinstance(value, str) else f"{value:.10g}" for value in self.values]
        if self.name.startswith("target"):
            texts = [instruments.name(text) for text in texts]
        is_numeric = not any(isinstance(value, str) for value in self.values)
        return {"name": self.name, "values": texts, "isNumeric": is_numeric}


def write_overview(folder: Path, title: str) -> list[Path]:
    """Write what compares a sweep's jobs, in place of what an earlier one left; return the files.

    jobs.csv; heat_map.png of the main measure over two swept values; curves.png over the first that
    is a number; of attributions methods.csv and methods.md, with intervals; gallery.html,
    spectrograms and sounds.
    """
    sweep, into = read_sweep(folder), folder / FOLDER
    files = [into / name for name in FILES]
    for path in files:
        path.unlink(missing_ok=True)
    jobs, metric = table(sweep), main_metric(sweep.jobs)
    write_text(jobs.to_csv(index=False), into / "jobs.csv")
    first, second, *_ = *sorted(sweep.swept, key=lambda x: not sweep.is_numeric(x)), None, None
    if metric and first and second:
        save_figure(heat_map_figure(jobs, first, second, metric), into / "heat_map.png")
    if metric and first and sweep.is_numeric(first):
        save_figure(sweep_curve_figure(jobs, first, metric, by=second), into / "curves.png")
    means = _write_methods(sweep, into)
    write_gallery(sweep, into / "gallery.html", title=title, means=means)
    return [path for path in files if path.is_file()]


def read_sweep(folder: Path) -> SweepResult:
    """Read the records of a sweep's jobs; damaged ones are listed."""
    jobs, damaged = read_jobs(folder)
    return SweepResult(jobs=jobs, damaged=damaged)


def values_of(job: Job) -> dict[str, Value]:
    """Return the overrides of a job as keys and values, numbers as such."""
    parts = (word.lstrip("+~").partition("=") for word in job.overrides)
    return {key: parse_value(value) for key, _, value in parts}


def parse_value(text: str) -> Value:
    """Return a text as a number where it is a finite one, else as it is."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text


def table(sweep: SweepResult) -> pd.DataFrame:
    """Return a row for each job: number, status, seconds, swept keys, metrics, error."""
    metrics = dict.fromkeys(name for job in sweep.jobs for name in job.metrics)
    rows = [vars(job) | values_of(job) | job.metrics for job in sweep.jobs]
    columns = ["number", "status", "seconds", *sweep.swept, *metrics, "error"]
    return pd.DataFrame(rows, columns=columns)


def main_metric(jobs: Sequence[Job], preferred: Sequence[str] = HEADLINES) -> str | None:
    """Return the first of the preferred metrics that varies between jobs, or else that any has."""
    found = {name: {job.metrics.get(name, math.nan) for job in jobs} for name in preferred}
    counts = {name: sum(map(math.isfinite, values)) for name, values in found.items()}
    there = [name for name, count in counts.items() if count]
    return next((name for name in there if counts[name] > 1), there[0] if there else None)


def _write_methods(sweep: SweepResult, into: Path) -> list[list[str]]:
    """Write the table of a sweep's attributions, and return it as cells; none where it has none."""
    runs, left = {}, {}
    for job in sweep.jobs:
        path = job.files / "attributions.csv"
        if job.status in ("finished", "skipped") and path.is_file():
            values = values_of(job)
            words = [f"{key}={values[key]}" for key in sweep.swept]
            name = ", ".join(word.removeprefix("attribution=") for word in words)
            runs[name] = pd.read_csv(path)
            left |= {name: job.metrics[SANITY]} if SANITY in job.metrics else {}
    if not runs:
        return []
    found = methods_table(runs, left)
    save_table(found, into / "methods.csv")
    write_text(methods_markdown(found), into / "methods.md")
    return means_rows(found)


def dream_table(sweep: SweepResult) -> pd.DataFrame:
    """Return a row for each dream: the job's `number`, then the columns of its dreams.csv.

    Or for each map of an attribution, but for the controls. A job without that file, or that did
    not finish, has no rows: what is there may be older.
    """
    kinds: Any = dict.fromkeys((*TEXT_COLUMNS, "prediction_wav"), str)
    frames = []
    for job in sweep.jobs:
        paths = [job.files / name for name in ("dreams.csv", "attributions.csv")]
        path = next((path for path in paths if path.is_file()), paths[0])
        try:
            frame = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=[""])
        except (OSError, ValueError):  # pandas' errors are ValueErrors
            continue
        frame = of_methods(frame) if "map" in frame else frame
        is_whole = len(frame) and {"name", "target", "file"} <= set(frame.columns)
        if is_whole and job.status in ("finished", "skipped"):
            frame.insert(0, "number", job.number)
            frames.append(frame)
    columns = ["number", *TEXT_COLUMNS]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def dream_axes(sweep: SweepResult, dreams: pd.DataFrame) -> list[Axis]:
    """Return the axes of the dreams: swept keys, excerpt, and settings that vary within a job."""
    values = {job.number: values_of(job) for job in sweep.jobs}
    axes = [
        Axis(key, sweep.values(key), [values[n].get(key) for n in dreams["number"].tolist()])
        for key in sweep.swept
    ]
    columns = {"excerpt": _excerpts(dreams)}
    for name in WITHIN_JOB:
        if name in dreams and _most(dreams, ["number", "name"], name) > 1:
            found = [None if pd.isna(value) else value for value in dreams[name].tolist()]
            columns[f"{name} of the dream"] = found
    known = {name: ordered(x for x in found if x is not None) for name, found in columns.items()}
    return axes + [Axis(name, known[name], columns[name]) for name in columns if known[name][1:]]


def _excerpts(dreams: pd.DataFrame) -> list[Any]:
    """Return each dream's excerpt: its name, or its place in its job where jobs share no name."""
    names, numbers = dreams["name"].tolist(), dreams["number"].tolist()
    if len(set(numbers)) == 1 or _most(dreams, ["name"], "number") > 1:
        return names
    known: dict[int, dict[str, int]] = defaultdict(dict)  # of each job, name to place
    both = zip(numbers, names, strict=True)
    return [known[number].setdefault(name, len(known[number]) + 1) for number, name in both]


def _most(dreams: pd.DataFrame, by: list[str], name: str) -> int:
    """Return how many values of a column a group has at most."""
    return max(dreams.groupby(by)[name].nunique().tolist(), default=0)


# The gallery ---------------------------------------------------------------------------------


def write_gallery(
    sweep: SweepResult, path: Path, *, title: str, means: Sequence[Sequence[str]] = ()
) -> None:
    """Write the dreams of a sweep as one HTML file that needs no other; none where it has none.

    What the jobs left in their folders is read; `means` is a table of attributions. Where dreams
    are too many, each job keeps its first ones; the page says so. Raises OSError from the system
    (full disk, no permission).
    """
    dreams = dream_table(sweep)
    if not len(dreams):
        return
    of_each = max(1, MAX_DREAMS // dreams["number"].nunique())
    rank = dreams.groupby("number").cumcount()  # the first dreams of all jobs first
    chosen = dreams.loc[rank[rank < of_each].sort_values(kind="stable").index].head(MAX_DREAMS)
    axes, folders = dream_axes(sweep, chosen), {job.number: job.files for job in sweep.jobs}
    shown = []
    for i, row in enumerate(chosen.to_dict("records")):
        number, at = row["number"], [axis.place(axis.of_dreams[i]) for axis in axes]
        place = {"number": number, "at": at}
        shown.append(PageDream(folder=folders[number], row=row, place=place))
    write_page(
        path,
        shown,
        title=title,
        measures=known_measures(dreams),
        kind=MAPS if "map" in dreams else DREAMS,
        notes=_notes(sweep, dreams, chosen),
        shared=sweep.shared,
        means=means,
        sweep={
            "swept": sum(axis.name in sweep.swept for axis in axes),
            "axes": [axis.shown() for axis in axes],
        },
        others=_job_entries(sweep, dreams, chosen, axes),
    )


def _job_entries(
    sweep: SweepResult, dreams: pd.DataFrame, chosen: pd.DataFrame, axes: Sequence[Axis]
) -> list[dict[str, Any]]:
    """Return the page's entries for jobs that have no dream on it."""
    shown, dreamed = set(chosen["number"]), set(dreams["number"])
    entries = []
    for job in (job for job in sweep.jobs if job.number not in shown):
        failed, values = job.status == "failed", values_of(job)
        text = "not finished" if job.status == "killed" else "no dreams"
        if job.number in dreamed:
            text = "left out"
        elif failed:
            text = f"failed: {(job.error or 'no reason given').removeprefix('error: ')}"
        at = [axis.place(values.get(axis.name)) for axis in axes]
        entries.append({"number": job.number, "at": at, "text": text, "hasFailed": failed})
    return entries


def _notes(sweep: SweepResult, dreams: pd.DataFrame, chosen: pd.DataFrame) -> list[str]:
    """Return a line with counts of what is on the page, and lines on what is missing."""
    failed = sum(job.status == "failed" for job in sweep.jobs)
    noun = "map" if "map" in dreams else "dream"
    notes = [f"{counted(len(sweep.jobs), 'job')}, {failed} failed; {counted(len(chosen), noun)}."]
    flags = chosen["unchanged"].tolist() if "unchanged" in chosen else []
    if unchanged := sum(flag is True for flag in flags):
        notes.append(f"{unchanged} of the dreams changed nothing.")
    if lost := len(dreams) - len(chosen):
        notes.append(f"Left out: {lost} of {len(dreams)} {noun}s; each job's first ones are shown.")
    return notes + [f"Not read: {line}." for line in sweep.damaged]
