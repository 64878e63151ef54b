"""One run of a task, as main.py, a sweep and its launchers see it; and the folder of its files.

A run writes `job.json` into its folder, and a job of a sweep, which may run on another machine, the
same into the sweep's folder, `.irdream/jobs/NUMBER.json`. Where all runs have one folder, one may
write at a time, and nothing of an earlier one is kept with a later one. Nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irdream import processes
from irdream.errors import InputError
from irdream.files import as_text, replacing

FILE = "job.json"
HIDDEN = ".irdream"
ELSEWHERE = "running elsewhere"
# Of a sweep's end: skipped had finished before, pruned was stopped by a search, and what runs
# elsewhere is left to another process.
STATUSES = ("finished", "skipped", ELSEWHERE, "pruned", "failed", "killed")
TRAINED = "checkpoint/"  # what a training keeps

logger = logging.getLogger(__name__)


class OutputFolder:
    """A folder that a run of this process writes to.

    What a run kept is listed in the hidden folder `.irdream`; when a later run has files of its
    own, those of the list that are as they were are removed. Other people's files are never
    touched, nor those of a training: its checkpoint may be in use. Of the kind "sweep" is the
    folder around those of jobs, or the same one.
    """

    def __init__(self, path: str | Path, *, key: str, kind: str = "run") -> None:
        self.path = Path(os.path.abspath(path))
        self.kept: dict[str, int] = {}
        self._key = key  # that it was set with, for messages
        self._list = self.path / HIDDEN / f"{kind}.json"
        self._lock_path = self.path / HIDDEN / f"{kind}.lock"
        self._lock: Any = None
        self._began_ns = 0

    def check(self) -> None:
        """Raise InputError when another run writes to the folder."""
        if self._lock_path.exists():
            self.claim()
            self.release()

    def claim(self) -> None:
        """Keep other runs out until `release`; raise InputError when another run writes to it."""
        from filelock import FileLock, Timeout  # 0.05 s

        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._lock_path, timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"{self._key}: another run writes to {str(self.path)!r}; choose another folder, or "
                "wait for it"
            ) from error
        except NotImplementedError:
            logger.warning("%s: a file system without locks", self.path)
        self._lock_path.touch()
        self._began_ns = self._lock_path.stat().st_mtime_ns  # by the clock that stamps its files

    def release(self) -> None:
        """Remove what an earlier run kept, if this one kept something; let others in."""
        if self.kept:
            self._remove_earlier()
            with replacing(self._list) as file:
                file.write(json.dumps(self.kept, indent=0).encode())
        if self._lock is not None:
            self._lock.release()

    def watching(self, tracker: Any) -> Any:
        """Return the tracker as one that keeps files of this run only, and lists them here."""
        return _Watching(tracker, self)

    def written(self, path: Path) -> list[Path]:
        """Return the files of a folder that this run wrote, or the file itself; list them."""
        files = [file for file in sorted(path.rglob("*")) if file.is_file()] or [path]
        own = [file for file in files if file == path or not self._is_earlier(file)]
        for file in own:
            if file.is_file() and file.is_relative_to(self.path):
                self.kept[file.relative_to(self.path).as_posix()] = file.stat().st_mtime_ns
        return own

    def _is_earlier(self, file: Path) -> bool:
        return file.is_relative_to(self.path) and file.stat().st_mtime_ns < self._began_ns

    def _remove_earlier(self) -> None:
        listed: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError):
            listed = json.loads(self._list.read_text(encoding="utf-8"))
        if any(name.startswith(TRAINED) for name in listed):
            return
        paths = {self.path / name: written_ns for name, written_ns in listed.items()}
        files = [p for p, ns in paths.items() if p.is_file() and p.stat().st_mtime_ns == ns]
        for file in files:
            file.unlink()
            with contextlib.suppress(OSError):  # not empty
                file.parent.rmdir()
        if files:
            logger.warning("%s: removed %d files of an earlier run", self.path, len(files))


class _Watching:
    """A tracker that keeps only those files of a folder that this run wrote."""

    def __init__(self, tracker: Any, output: OutputFolder) -> None:
        self._tracker, self._output = tracker, output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a file, or the files of a folder, without those that an earlier run left there."""
        for file in self._output.written(path):
            into = Path(folder) / file.parent.relative_to(path.parent)
            self._tracker.log_file(file, "" if into == Path() else into.as_posix())


@dataclass
class Job:
    """One run of a task, as the command line sees it."""

    overrides: Sequence[str]
    output_dir: str
    number: int = 0
    sweep: str = ""  # what marks the process that holds its sweep; empty for a single run
    sweep_folder: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    status: str = "running"  # or one of `STATUSES`
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    tracker: Any = None
    found_in: str = ""  # the folder of the files of a job that was skipped
    output: OutputFolder | None = None  # its folder, while it writes there
    is_first_in_folder: bool = True  # another run's job.json stays until this one keeps something

    @property
    def folder(self) -> Path:
        return Path(self.output_dir)

    @property
    def files(self) -> Path:
        """Return the folder where the task's files are."""
        return Path(self.found_in or self.output_dir)

    def open(self, tracker: Any, tags: Mapping[str, str], shared: Sequence[str] = ()) -> None:
        """Remember the tracker; tag its run and name it by the overrides, shared ones last."""
        self.tracker = tracker
        typed = " ".join(sorted(self.overrides, key=lambda word: word in shared))
        named = any(word.startswith("tracker.run_name=") for word in self.overrides)
        name = {} if named else {"mlflow.runName": typed or "defaults"}
        about = {"irdream.overrides": " ".join(self.overrides), "irdream.folder": self.output_dir}
        tracker.set_tags({**about, **name, **tags})

    def claim(self) -> OutputFolder:
        """Keep other runs out of its folder until `release`; refuse it when one writes there."""
        key = "hydra.sweep.subdir" if self.sweep else "hydra.run.dir"
        output = OutputFolder(self.folder, key=key)
        output.claim()
        there = {}
        with contextlib.suppress(OSError, ValueError):
            there = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
        is_of_sweep = isinstance(there, dict) and self.sweep and there.get("sweep") == self.sweep
        if is_of_sweep and there.get("number") != self.number:  # another job of this sweep
            output.release()
            raise same_folder(self.output_dir)
        self.output, self.is_first_in_folder = output, not (self.folder / FILE).exists()
        self.write()
        return output

    def release(self) -> None:
        """Write the record, as killed where it was interrupted, and unlock the folder."""
        self.status = "killed" if self.status == "running" else self.status
        self.run_id = getattr(self.tracker, "run_id", None) or self.run_id
        self.write()
        if self.output is not None:
            self.output.release()
            self.output = None

    def write(self) -> None:
        """Write the record that the end of the sweep reads."""
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
            with replacing(path) as file:
                file.write((json.dumps(about, indent=2) + "\n").encode())


def same_folder(folder: str) -> InputError:
    """Return the error of two jobs of a sweep that have one folder."""
    return InputError(
        f"hydra.sweep.subdir gives two jobs the folder {folder!r}; expected one for each, such as "
        "'hydra.sweep.subdir=${hydra:job.num}'"
    )


def record(folder: Path, number: int | str) -> Path:
    """Return the path of a job's record in the sweep's folder."""
    return folder / HIDDEN / "jobs" / f"{number}.json"


def forget_jobs(folder: Path) -> None:
    """Remove what jobs of earlier sweeps left in a sweep's folder."""
    for path in record(folder, "").parent.glob("*.json"):
        path.unlink(missing_ok=True)


def read_jobs(folder: Path, *, sweep: str = "") -> tuple[list[Job], list[str]]:
    """Return the jobs of a sweep by their number, and a line for each that cannot be read.

    A job that is still "running" was killed, or runs in a process of another sweep than `sweep`.
    """
    jobs, damaged = [], []
    found = {path.stem: path for path in record(folder, "").parent.glob("*.json")}
    for number in sorted(int(name) for name in found if name.isdecimal()):
        try:
            jobs.append(_read(found[str(number)], sweep))
        except (OSError, TypeError, ValueError) as error:
            damaged.append(f"job {number}: {' '.join(str(error).split())}")
    return jobs, damaged


def _read(path: Path, sweep: str) -> Job:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{type(found).__name__}; expected an object")
    status = found.get("status")
    if status == "running":
        mark, since = found.get("process"), _number(found.get("written"))
        is_alive = bool(mark) and processes.state(mark, since) != "dead"
        status = ELSEWHERE if is_alive and found.get("sweep") != sweep else "killed"
    if status not in STATUSES:
        raise ValueError(f"status={status!r}; expected one of {', '.join(STATUSES)}")
    for key, kind in {"metrics": dict, "overrides": list, "folder": str}.items():
        if not isinstance(value := found.get(key), kind):
            raise ValueError(f"{key}={value!r}; expected {kind.__name__}")
    return Job(
        overrides=[as_text(str(word)) for word in found["overrides"]],
        output_dir=str(found.get("output_dir") or found["folder"]),
        found_in=found["folder"],
        number=int(path.stem),
        sweep=str(found.get("sweep") or ""),
        sweep_folder=str(path.parents[2]),
        metrics={name: _number(value) for name, value in found["metrics"].items()},
        error=None if found.get("error") is None else str(found["error"]),
        status=status,
        seconds=_number(found.get("seconds")),
        phases=found.get("phases") or {},
        run_id=found.get("run_id"),
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
