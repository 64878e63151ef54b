"""The parent run of a sweep, and jobs that are done already.

A sweep's jobs are runs below one parent. A multirun that is typed again finds the parent of the
first time by its signature, and the jobs that finished by theirs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from irdream.tracking.base import Status
from irdream.tracking.provenance import run_tags
from irdream.tracking.runs import SWEEP_TAG
from irdream.tracking.store import Point, Store, open_store

SWEEP_SIGNATURE_TAG = "irdream.sweep_signature"  # of parents
SIGNATURE_TAG = "irdream.signature"  # of jobs
FOLDER_TAG = "irdream.folder"  # where a job's files are


@dataclass(frozen=True)
class DoneJob:
    """A job that finished before: its run, its metrics, the folder of its files."""

    run_id: str
    metrics: dict[str, float]
    folder: str


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
        name: of a new sweep.
        uri: the address of a tracking server, used in place of `root`.
        signature: of what was typed; a sweep that has it is opened again, under its own name.
        tags: more tags of the parent.
    """
    store = open_store(root=root, uri=uri)
    experiment_id = store.experiment(experiment)
    every_tag = {**run_tags(), **(tags or {})}
    if signature is not None:
        every_tag[SWEEP_SIGNATURE_TAG] = signature
        found = store.find_runs(experiment_id, {SWEEP_SIGNATURE_TAG: signature})
        if found:
            run = found[0]
            for child in store.running_children(run.info.run_id):
                store.end_run(child, "KILLED")  # it died with the process that began this sweep
            store.patiently(store.client.update_run, run.info.run_id, status="RUNNING")
            store.log(run.info.run_id, tags=list(every_tag.items()))
            return run.info.run_id, str(run.info.run_name)
    return store.start_run(experiment_id, name, every_tag), name


def close_sweep(run_id: str, status: Status, *, root: Path, uri: str | None = None) -> None:
    """End a sweep's run; jobs of it that are still marked RUNNING died, they become KILLED."""
    store = open_store(root=root, uri=uri)
    for child in store.running_children(run_id):
        store.end_run(child, "KILLED")
    store.end_run(run_id, status)


def log_sweep(
    run_id: str,
    folder: Path,
    metrics: Mapping[str, float],
    *,
    root: Path,
    uri: str | None = None,
) -> None:
    """Keep a folder's files and a few numbers with a sweep's run."""
    store = open_store(root=root, uri=uri)
    for path in sorted(folder.iterdir()):
        store.log_file(run_id, path, "")
    now = int(time.time() * 1000)
    store.log(run_id, points=[Point(name, value, now, 0) for name, value in metrics.items()])


def find_done(
    root: Path, experiment: str, signature: str, *, uri: str | None = None
) -> DoneJob | None:
    """Return the last job with this signature that finished; None where there is none."""
    store = open_store(root=root, uri=uri)
    found = store.find_runs(
        store.experiment(experiment), {SIGNATURE_TAG: signature}, status="FINISHED"
    )
    if not found:
        return None
    run = found[0]
    return DoneJob(
        run_id=run.info.run_id,
        metrics={
            name: value
            for name, value in run.data.metrics.items()
            if not name.startswith(("dream/curve/", "system/", "time/"))
        },
        folder=run.data.tags.get(FOLDER_TAG, ""),
    )


def adopt_job(run_id: str, parent: str, sweep: str, *, root: Path, uri: str | None = None) -> None:
    """Put a job that finished before below another sweep, so that it is compared there."""
    store: Store = open_store(root=root, uri=uri)
    store.log(run_id, tags=[("mlflow.parentRunId", parent), (SWEEP_TAG, sweep)])
