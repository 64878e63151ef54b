"""The parent run of a sweep, and jobs that are done already.

A sweep's jobs are runs below one parent. A multirun that is typed again finds the parent of the
first time by its signature, and the jobs that finished by theirs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from irdream import processes
from irdream.tracking.base import Status
from irdream.tracking.provenance import OPENED_TAG, opened_by, run_tags
from irdream.tracking.runs import SWEEP_TAG
from irdream.tracking.store import Point, Store, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

SWEEP_SIGNATURE_TAG = "irdream.sweep_signature"  # of parents
SIGNATURE_TAG = "irdream.signature"  # of jobs
KIND_TAG = "irdream.kind"
FOLDER_TAG = "irdream.folder"  # where a job's files are
SWEEP_PROCESS_TAG = "irdream.sweep_process"  # of jobs: the process that holds their sweep


@dataclass(frozen=True)
class FoundJob:
    """A job that finished before, or that another process runs.

    Attributes:
        run_id: of its run.
        status: finished, running or failed.
        metrics: what its task returned.
        folder: with its files; empty where they are on a server only.
        process: that runs it, in words.
    """

    run_id: str
    status: str
    metrics: dict[str, float]
    folder: str
    process: str


def open_sweep(
    root: Path,
    experiment: str,
    name: str,
    *,
    uri: str | None = None,
    signature: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """Open the run that stands above a sweep's runs; return its id and the sweep's name.

    Give the id to each job as `MlflowTracker(parent_run_id=...)`, the name as `sweep=`.

    Args:
        root: of the local store.
        experiment: that the runs belong to.
        name: of a new sweep; one that is taken gets a number.
        uri: the address of a tracking server, used in place of `root`.
        signature: of what was typed; a sweep that has it is opened again, under its own name.
        tags: more tags of the parent.
    """
    store = open_store(root=root, uri=uri)
    experiment_id = store.experiment(experiment)
    every_tag = {**run_tags(), KIND_TAG: "sweep", **(tags or {})}
    if signature is not None:
        every_tag[SWEEP_SIGNATURE_TAG] = signature
        found = store.find_runs(experiment_id, {SWEEP_SIGNATURE_TAG: signature})
        if found:
            run = found[0]
            _end_dead_children(run.info.run_id, store)
            every_tag[OPENED_TAG] = str(time.time())
            store.patiently(store.client.update_run, run.info.run_id, status="RUNNING")
            store.log(run.info.run_id, tags=list(every_tag.items()))
            return run.info.run_id, str(run.info.run_name)
    taken = {str(run.info.run_name) for run in store.find_runs(experiment_id, {KIND_TAG: "sweep"})}
    plain = re.sub(r"['\"`\\]", "_", name) or "sweep"  # it is searched for between quotes
    names = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
    name = next(name for name in names if name not in taken)
    return store.start_run(experiment_id, name, every_tag), name


def close_sweep(run_id: str, status: Status, *, root: Path, uri: str | None = None) -> bool:
    """End a sweep's run, and jobs of it whose process is gone: they become KILLED.

    Returns:
        False where other processes still run jobs of it: then the last of them ends it.
    """
    store = open_store(root=root, uri=uri)
    if _end_dead_children(run_id, store):
        return False
    store.end_run(run_id, status)
    return True


def _end_dead_children(run_id: str, store: Store) -> bool:
    """Mark jobs that died, or that this process's own workers ran, KILLED; say whether any live."""
    mine, any_live = processes.mark(), False
    for child in store.running_children(run_id):
        mark, since = opened_by(child)
        if child.data.tags.get(SWEEP_PROCESS_TAG) == mine or processes.is_gone(mark, since):
            store.end_run(child.info.run_id, "KILLED")
        else:
            any_live |= processes.state(mark, since) == "alive"
    return any_live


def log_sweep(
    run_id: str,
    files: Iterable[Path],
    metrics: Mapping[str, float],
    *,
    root: Path,
    uri: str | None = None,
) -> None:
    """Keep files and a few numbers with a sweep's run."""
    store = open_store(root=root, uri=uri)
    for path in files:
        store.log_file(run_id, path, "")
    now = int(time.time() * 1000)
    store.log(run_id, points=[Point(name, value, now, 0) for name, value in metrics.items()])


def find_job(
    root: Path, experiment: str, signature: str, *, uri: str | None = None
) -> FoundJob | None:
    """Return the last job with this signature that finished, or else one that runs elsewhere."""
    store = open_store(root=root, uri=uri)
    found = [
        _found(run)
        for run in store.find_runs(store.experiment(experiment), {SIGNATURE_TAG: signature})
    ]
    done = [job for job in found if job.status == "finished"]
    return next(iter([*done, *(job for job in found if job.status == "running")]), None)


def read_job(run_id: str, *, root: Path, uri: str | None = None) -> FoundJob:
    """Return what became of a job."""
    store = open_store(root=root, uri=uri)
    return _found(store.patiently(store.client.get_run, run_id))


def _found(run: Run) -> FoundJob:
    mark, since = opened_by(run)
    is_alive = run.info.status == "RUNNING" and processes.state(mark, since) == "alive"
    return FoundJob(
        run_id=run.info.run_id,
        status={"FINISHED": "finished"}.get(run.info.status, "running" if is_alive else "failed"),
        metrics={
            name: value
            for name, value in run.data.metrics.items()
            if not name.startswith(("dream/curve/", "system/", "time/"))
        },
        folder=_folder(run),
        process=f"process {mark['pid']}",
    )


def _folder(run: Run) -> str:
    """Return where a job's files are: its folder, if it still holds them, or a local store's."""
    folder = run.data.tags.get(FOLDER_TAG, "")
    with contextlib.suppress(OSError, ValueError, KeyError):
        about = json.loads((Path(folder) / "job.json").read_text(encoding="utf-8"))
        if about["run_id"] == run.info.run_id:
            return folder
    kept = urlparse(str(run.info.artifact_uri))
    return url2pathname(kept.path) if kept.scheme == "file" else ""


def adopt_job(run_id: str, parent: str, sweep: str, *, root: Path, uri: str | None = None) -> None:
    """Put a job that finished before below another sweep, so that it is compared there."""
    store: Store = open_store(root=root, uri=uri)
    store.log(run_id, tags=[("mlflow.parentRunId", parent), (SWEEP_TAG, sweep)])
