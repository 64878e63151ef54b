"""One run of a task, as main.py, a sweep and its launchers see it; and the files it leaves.

A run writes `job.json` into its folder. The jobs of a sweep may run in this process, in others, or
on other machines, and their folders may be called anything (`hydra.sweep.subdir`): so each writes
the same into the sweep's folder, `.irdream/jobs/NUMBER.json`, from which the sweep is told at its
end.

Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irdream import processes
from irdream.errors import InputError
from irdream.files import as_text, replacing
from irdream.measures.table import HEADLINES as HEADLINES
from irdream.sweeps.output_folder import HIDDEN, OutputFolder

FILE = "job.json"
ELSEWHERE = "running elsewhere"
STATUSES = ("finished", "skipped", ELSEWHERE, "pruned", "failed", "killed")  # of a sweep's end


@dataclass
class Job:
    """One run of a task, as the command line sees it.

    Attributes:
        overrides: what was typed.
        output_dir: the folder of its files.
        number: in its sweep.
        sweep: what marks the process that holds its sweep; empty for a single run.
        sweep_folder: of its sweep.
        metrics: what the task returned.
        error: one line, where it failed.
        status: running, finished, skipped (it had finished before), running elsewhere (in another
            process, which it is left to), pruned (a search stopped it), failed or killed.
        seconds: how long it took.
        phases: of it, by name.
        run_id: of its run in the tracking store.
        tracker: while it runs.
        found_in: the folder of the files of a job that was skipped.
        output: its folder, while it writes there.
        is_first_in_folder: whether no other run has told of itself there; it is not overwritten
            before this one has something to keep.
    """

    overrides: Sequence[str]
    output_dir: str
    number: int = 0
    sweep: str = ""
    sweep_folder: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    status: str = "running"
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    tracker: Any = None
    found_in: str = ""
    output: OutputFolder | None = None
    is_first_in_folder: bool = True

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
        self.tracker = tracker
        own = [word for word in self.overrides if word not in shared]
        typed = " ".join([*own, *(word for word in self.overrides if word in shared)])
        named = any(word.startswith("tracker.run_name=") for word in self.overrides)
        name = {} if named else {"mlflow.runName": typed or "defaults"}
        told = {"irdream.overrides": " ".join(self.overrides), "irdream.folder": self.output_dir}
        tracker.set_tags({**told, **name, **tags})

    def claim(self) -> OutputFolder:
        """Keep other runs out of its folder until `release`.

        Raises:
            InputError: when another run writes to it, or another job of the sweep did.
        """
        key = "hydra.sweep.subdir" if self.sweep else "hydra.run.dir"
        output = OutputFolder(self.folder, key=key)
        output.claim()
        if self._is_of_sibling():
            output.release()
            raise same_folder(self.output_dir)
        self.output, self.is_first_in_folder = output, not (self.folder / FILE).exists()
        self.write()
        return output

    def _is_of_sibling(self) -> bool:
        """Say whether another job of this sweep wrote into the folder."""
        with contextlib.suppress(OSError, TypeError, ValueError, KeyError):
            there = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
            is_of_sweep = self.sweep and there["sweep"] == self.sweep
            return bool(is_of_sweep) and there["number"] != self.number
        return False

    def release(self) -> None:
        """Write what came of it, killed where it was interrupted; let others into its folder."""
        self.status = "killed" if self.status == "running" else self.status
        self.run_id = getattr(self.tracker, "run_id", None) or self.run_id
        self.write()
        if self.output is not None:
            self.output.release()
            self.output = None

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
            "folder": str(self.files),
            "output_dir": self.output_dir,
            "sweep": self.sweep,
            "process": processes.this_process(),
            "written": time.time(),
        }
        has_folder = self.output is not None and (self.output.kept or self.is_first_in_folder)
        paths = [self.folder / FILE] if has_folder else []
        if self.sweep_folder:
            paths.append(record(Path(self.sweep_folder), self.number))
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write((json.dumps(about, indent=2) + "\n").encode())


def same_folder(folder: str) -> InputError:
    """Return what to raise where two jobs of a sweep have one folder."""
    return InputError(
        f"hydra.sweep.subdir gives two jobs the folder {folder!r}; expected one for each, such as "
        "'hydra.sweep.subdir=${hydra:job.num}'"
    )


def read_jobs(folder: Path, *, sweep: str = "") -> tuple[list[Job], list[str]]:
    """Return the jobs of a sweep by their number, and a line for each that cannot be read.

    A job that is still "running" was killed, or runs in a process of another sweep.

    Args:
        folder: of the sweep.
        sweep: what marks the process that holds it; its own jobs do not run any more.
    """
    jobs, damaged = [], []
    found = {path.stem: path for path in record(folder, "").parent.glob("*.json")}
    for number in sorted(int(name) for name in found if name.isdecimal()):
        try:
            jobs.append(_read(found[str(number)], sweep))
        except (OSError, TypeError, ValueError) as error:
            damaged.append(f"job {number}: {' '.join(str(error).split())}")
    return jobs, damaged


def forget_jobs(folder: Path, *, but: Collection[tuple[str, str]] = ()) -> None:
    """Remove what jobs of earlier sweeps left in a sweep's folder for its end to tell.

    Args:
        folder: of the sweep.
        but: folder and sweep of the jobs that belong to it still.
    """
    for path in record(folder, "").parent.glob("*.json"):
        with contextlib.suppress(OSError, TypeError, ValueError):
            job = _read(path, "")
            if (job.output_dir, job.sweep) in but:
                continue
        path.unlink(missing_ok=True)


def record(folder: Path, number: int | str) -> Path:
    """Return where a job tells its sweep, in the sweep's folder, what came of it."""
    return folder / HIDDEN / "jobs" / f"{number}.json"


def _read(path: Path, sweep: str) -> Job:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{type(found).__name__}; expected an object")
    status = _of_kind(found, "status", str)
    if status == "running":
        mark, since = found.get("process"), _number(found.get("written"))
        is_alive = bool(mark) and processes.state(mark, since) != "dead"
        status = ELSEWHERE if is_alive and found.get("sweep") != sweep else "killed"
    if status not in STATUSES:
        raise ValueError(f"status={status!r}; expected one of {', '.join(STATUSES)}")
    metrics = _of_kind(found, "metrics", dict)
    return Job(
        overrides=[as_text(str(word)) for word in _of_kind(found, "overrides", list)],
        output_dir=str(found.get("output_dir") or found["folder"]),
        found_in=_of_kind(found, "folder", str),
        number=int(path.stem),
        sweep=str(found.get("sweep") or ""),
        sweep_folder=str(path.parents[2]),
        metrics={name: _number(value) for name, value in metrics.items()},
        error=_of_kind(found, "error", str, type(None)),
        status=status,
        seconds=_number(found.get("seconds")),
        phases=found.get("phases") or {},
        run_id=_of_kind(found, "run_id", str, type(None)),
    )


def _of_kind(found: Mapping[str, Any], key: str, *kinds: type) -> Any:
    if not isinstance(value := found.get(key), kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{key}={value!r}; expected {expected}")
    return value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
