"""A sweep read back from what its jobs left: what was swept, and a table with a row a job.

Each job tells of itself in a file of the sweep's folder (see `irdream.sweeps.job`), and of its
task's files where they are. A job that was killed may have left none, or half of them; the others
are read all the same.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from irdream.errors import InputError
from irdream.reports.sweep_figures import Value, ordered
from irdream.sweeps.job import Job, read_jobs

TEXT_COLUMNS = ("name", "labels", "target", "file")  # of dreams.csv
WITHIN_JOB = ("target", "step_size", "budget_db", "variation")  # lists of these are one job


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The jobs of a sweep.

    Attributes:
        folder: of the sweep.
        jobs: by number.
        damaged: a line for each job whose file cannot be read.
    """

    folder: Path
    jobs: tuple[Job, ...]
    damaged: tuple[str, ...] = ()

    @property
    def swept(self) -> tuple[str, ...]:
        """Return the keys whose values differ between jobs, in the order they were typed."""
        values = [values_of(job) for job in self.jobs]
        keys = dict.fromkeys(key for one in values for key in one)
        return tuple(key for key in keys if len({one.get(key) for one in values}) > 1)

    @property
    def shared(self) -> tuple[str, ...]:
        """Return the overrides that all jobs have in common."""
        swept = set(self.swept)
        words = self.jobs[0].overrides if self.jobs else ()
        return tuple(word for word in words if word.lstrip("+~").partition("=")[0] not in swept)

    def values(self, key: str) -> list[Value]:
        """Return the values of a key: numbers from the least, then words as they were typed."""
        return ordered(found[key] for found in map(values_of, self.jobs) if key in found)

    def is_numeric(self, key: str) -> bool:
        """Tell whether every job has a number for this key."""
        return all(not isinstance(values_of(job).get(key, ""), str) for job in self.jobs)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What differs between dreams: its name, its values in order, and the value of each dream."""

    name: str
    values: Sequence[Value]
    of_dreams: Sequence[Value | None]

    def place(self, value: Value | None) -> int | None:
        """Return which of the values this is; None when it is none of them."""
        return self.values.index(value) if value in self.values else None


def read_sweep(folder: str | Path) -> Sweep:
    """Read what the jobs of a sweep left; what is damaged is only listed.

    Args:
        folder: of the sweep.

    Raises:
        InputError: when there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"sweep={str(folder)!r}; expected the folder of a sweep; check the path")
    jobs, damaged = read_jobs(root)
    return Sweep(folder=root, jobs=tuple(jobs), damaged=tuple(damaged))


def values_of(job: Job) -> dict[str, Value]:
    """Return the overrides of a job as keys and values, numbers as such."""
    parts = [word.lstrip("+~").partition("=") for word in job.overrides]
    return {key: parse_value(value) for key, _, value in parts}


def parse_value(text: str) -> Value:
    """Return the number that a text stands for, or the text; infinity and NaN stay texts."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text


def table(sweep: Sweep) -> pd.DataFrame:
    """One row per job: number, status, seconds, swept keys, metrics, error."""
    metrics = list(dict.fromkeys(name for job in sweep.jobs for name in job.metrics))
    rows = [
        {
            "number": job.number,
            "status": job.status,
            "seconds": job.seconds,
            **{key: values_of(job).get(key) for key in sweep.swept},
            **job.metrics,
            "error": job.error,
        }
        for job in sweep.jobs
    ]
    columns = ["number", "status", "seconds", *sweep.swept, *metrics, "error"]
    return pd.DataFrame(rows, columns=columns)


def dream_table(sweep: Sweep) -> pd.DataFrame:
    """One row per dream of all jobs: the job's `number`, then the columns of its dreams.csv.

    A job without that file, or with one that cannot be read, has no rows; nor one that did not
    finish: what is in its folder may be of an earlier run.
    """
    done = [job for job in sweep.jobs if job.status in ("finished", "skipped")]
    frames = [frame for job in done if (frame := _read_dreams(job)) is not None]
    columns = ["number", *TEXT_COLUMNS]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def dream_axes(sweep: Sweep, dreams: pd.DataFrame) -> list[Axis]:
    """Return what tells dreams apart: swept keys, excerpt, what differs within job and excerpt.

    Args:
        sweep: with its jobs.
        dreams: rows of `dream_table`.
    """
    values = {job.number: values_of(job) for job in sweep.jobs}
    numbers = dreams["number"].tolist()
    axes = [
        Axis(name=key, values=sweep.values(key), of_dreams=[values[n].get(key) for n in numbers])
        for key in sweep.swept
    ]
    columns = {"excerpt": _excerpts(dreams)}
    for name in WITHIN_JOB:
        if name in dreams and _most(dreams, ["number", "name"], name) > 1:
            found = [None if pd.isna(value) else value for value in dreams[name].tolist()]
            columns[f"{name} of the dream"] = found
    for name, found in columns.items():
        known = ordered(value for value in found if value is not None)
        axes += [Axis(name=name, values=known, of_dreams=found)] if len(known) > 1 else []
    return axes


def _excerpts(dreams: pd.DataFrame) -> list[Any]:
    """Return each dream's excerpt: its name, or its place in its job where jobs share no name."""
    names = dreams["name"].tolist()
    if len(set(dreams["number"].tolist())) == 1 or _most(dreams, ["name"], "number") > 1:
        return names
    known: dict[int, dict[str, int]] = defaultdict(dict)  # of each job, name to place
    both = zip(dreams["number"].tolist(), names, strict=True)
    return [known[number].setdefault(name, len(known[number]) + 1) for number, name in both]


def _most(dreams: pd.DataFrame, by: list[str], name: str) -> int:
    """Return how many values of a column a group has at most."""
    return max(dreams.groupby(by)[name].nunique().tolist(), default=0)


def main_metric(sweep: Sweep, preferred: Sequence[str]) -> str | None:
    """Return the metric to tell the jobs apart by.

    Args:
        sweep: with its jobs.
        preferred: names of metrics, the best first.

    Returns:
        The first that some jobs have and that varies; where none does, the first that some
        have; else None.
    """
    found = {
        name: {
            job.metrics[name]
            for job in sweep.jobs
            if math.isfinite(job.metrics.get(name, math.nan))
        }
        for name in preferred
    }
    varying = [name for name, values in found.items() if len(values) > 1]
    there = [name for name, values in found.items() if values]
    return next(iter([*varying, *there]), None)


def _read_dreams(job: Job) -> pd.DataFrame | None:
    kinds: Any = dict.fromkeys((*TEXT_COLUMNS, "prediction_wav"), str)
    try:
        path = job.files / "dreams.csv"
        frame = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=[""])
    except (OSError, ValueError):  # pandas' errors are ValueErrors
        return None
    if not {"name", "target", "file"} <= set(frame.columns) or not len(frame):
        return None
    frame.insert(0, "number", job.number)
    return frame
