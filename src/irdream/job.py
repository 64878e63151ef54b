"""One run of a task, as main.py, a sweep and its launchers see it; and the file it leaves.

The jobs of a sweep may run in this process, in others, or on other machines: each writes
`job.json` into its folder, from which the sweep is told at its end.

Nothing heavy is imported here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irdream.files import replacing

FILE = "job.json"
STATUSES = ("finished", "skipped", "pruned", "failed", "killed")  # when a sweep has ended

HEADLINES = (  # of a sweep's jobs; the first one there is orders the comparison
    "dream/success",
    "dream/success_wav",
    "dream/rmse_db",
    "dream/snr_db",
    "eval/micro_f1",
    "eval/macro_f1",
    "eval/top1",
    "eval/robust_accuracy_1dB",
    "val/loss",
    "val/top1",
)


@dataclass
class Job:
    """One run of a task, as the command line sees it.

    Attributes:
        overrides: what was typed.
        output_dir: the folder of its files.
        number: in its sweep.
        metrics: what the task returned.
        error: one line, where it failed.
        status: running, finished, skipped (it had finished before), pruned (a search stopped it),
            failed or killed.
        seconds: how long it took.
        phases: of it, by name.
        run_id: of its run in the tracking store.
        tracker: while it runs.
        found_in: the folder of the files of a job that was skipped.
    """

    overrides: Sequence[str]
    output_dir: str
    number: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    status: str = "running"
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    tracker: Any = None
    found_in: str = ""

    @property
    def folder(self) -> Path:
        """Return the folder for the run's files."""
        return Path(self.output_dir)

    @property
    def files(self) -> Path:
        """Return the folder where the task's files are."""
        return Path(self.found_in or self.output_dir)

    def open(self, tracker: Any, tags: Mapping[str, str], shared: Sequence[str] = ()) -> None:
        """Remember the tracker; name its run by what was typed, and tag it.

        Args:
            tracker: whose run it is.
            tags: more tags.
            shared: what was typed for all jobs of a sweep; it comes last in the name.
        """
        self.tracker, self.run_id = tracker, tracker.run_id
        own = [word for word in self.overrides if word not in shared]
        typed = " ".join([*own, *(word for word in self.overrides if word in shared)])
        named = any(word.startswith("tracker.run_name=") for word in self.overrides)
        name = {} if named else {"mlflow.runName": typed or "defaults"}
        told = {"irdream.overrides": " ".join(self.overrides), "irdream.folder": self.output_dir}
        tracker.set_tags({**told, **name, **tags})

    def write(self) -> None:
        """Write what the end of the sweep tells of it, whole or not at all."""
        about = {
            "number": self.number,
            "overrides": list(self.overrides),
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "phases": {name: round(seconds, 3) for name, seconds in self.phases.items()},
            "metrics": self.metrics,
            "error": self.error,
            "run_id": self.run_id,
            "folder": self.found_in or str(self.folder),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / FILE) as file:
            file.write((json.dumps(about, indent=2) + "\n").encode())


def read_jobs(folder: Path) -> tuple[list[Job], list[str]]:
    """Return the jobs of a sweep by their number, and a line for each that cannot be read.

    A job that is still "running" was killed.

    Args:
        folder: with the folders 0, 1, ... of the jobs.
    """
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    jobs, damaged = [], []
    for number in sorted(
        int(name) for name in names if name.isdecimal() and str(int(name)) == name
    ):
        try:
            jobs.append(_read(folder / str(number)))
        except FileNotFoundError:
            damaged.append(f"{number}/{FILE} is missing")
        except (OSError, TypeError, ValueError) as error:
            damaged.append(f"{number}/{FILE}: {' '.join(str(error).split())}")
    return jobs, damaged


def _read(folder: Path) -> Job:
    found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{type(found).__name__}; expected an object")
    status = _of_kind(found, "status", str)
    status = "killed" if status == "running" else status
    if status not in STATUSES:
        raise ValueError(f"status={status!r}; expected one of {', '.join(STATUSES)}")
    metrics = _of_kind(found, "metrics", dict)
    return Job(
        overrides=[str(word) for word in _of_kind(found, "overrides", list)],
        output_dir=str(folder),
        number=int(folder.name),
        metrics={name: _number(value) for name, value in metrics.items()},
        error=_of_kind(found, "error", str, type(None)),
        status=status,
        seconds=_number(found.get("seconds")),
        phases=found.get("phases") or {},
        run_id=_of_kind(found, "run_id", str, type(None)),
        found_in=_of_kind(found, "folder", str) if status == "skipped" else "",
    )


def _of_kind(found: Mapping[str, Any], key: str, *kinds: type) -> Any:
    if not isinstance(value := found.get(key), kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{key}={value!r}; expected {expected}")
    return value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
