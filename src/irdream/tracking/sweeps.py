"""The parent run of a sweep, and jobs that are done already.

A multirun that is typed again finds the parent of the first time by its signature, and the jobs
that finished by theirs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlparse
from urllib.request import url2pathname

from irdream import processes
from irdream.tracking.mlflow_setup import DATABASE, command, sqlite_uri, without_password
from irdream.tracking.provenance import OPENED_TAG, opened_by, run_tags
from irdream.tracking.store import Store
from irdream.tracking.tracker import PARENT_TAG, SWEEP_TAG, Status

if TYPE_CHECKING:
    from mlflow.entities import Run

SWEEP_SIGNATURE_TAG = "irdream.sweep_signature"  # of parents
SIGNATURE_TAG = "irdream.signature"  # of jobs
FOLDER_TAG = "irdream.folder"  # where a job's files are
SWEEP_PROCESS_TAG = "irdream.sweep_process"  # of jobs: the process that holds their sweep
_KIND = {"irdream.kind": "sweep"}
_CHECKOUT = Path(__file__).resolve().parents[3]  # where `make ui` is known, of mlruns/


@dataclass(frozen=True)
class FoundJob:
    """A job that finished before, or that another process runs."""

    run_id: str
    status: str  # finished, running or failed
    metrics: dict[str, float]
    folder: str  # empty where files are on a server only
    process: str


def open_sweep(
    store: Store,
    experiment: str,
    name: str,
    *,
    signature: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """Open the parent run of a sweep; return its id and the sweep's name.

    Args:
        name: of a new sweep; one that is taken gets a number.
        signature: of what was typed; a sweep that has it is opened again, under its own name.
        tags: more tags of the parent.
    """
    experiment_id = store.experiment(experiment)
    every_tag = {**run_tags(), **_KIND, **(tags or {})}
    if signature is not None:
        every_tag[SWEEP_SIGNATURE_TAG] = signature
        known = {SWEEP_SIGNATURE_TAG: signature}
        if found := store.find_runs(known, experiment_id=experiment_id):
            run_id = found[0].info.run_id
            _end_dead_children(run_id, store)
            every_tag[OPENED_TAG] = str(time.time())
            store.patiently(store.client.update_run, run_id, status="RUNNING")
            store.log(run_id, tags=every_tag)
            return run_id, str(found[0].info.run_name)
    sweeps = store.find_runs(_KIND, experiment_id=experiment_id)
    taken = {str(run.info.run_name) for run in sweeps}
    plain = re.sub(r"['\"`\\]", "_", name) or "sweep"  # it is searched for between quotes
    names = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
    name = next(name for name in names if name not in taken)
    return store.start_run(experiment_id, name, every_tag), name


def close_sweep(store: Store, run_id: str, status: Status) -> bool:
    """End a sweep's run; jobs of it whose process is gone become KILLED.

    Returns False where other processes still run jobs of it: then the last of them ends it.
    """
    if _end_dead_children(run_id, store):
        return False
    store.end_run(run_id, status)
    return True


def _end_dead_children(run_id: str, store: Store) -> bool:
    """Mark jobs that died, or that this process's own workers ran, KILLED; say whether any live."""
    mine, any_live = processes.mark(), False
    for child in store.find_runs({PARENT_TAG: run_id}, status="RUNNING"):
        mark, since = opened_by(child)
        if child.data.tags.get(SWEEP_PROCESS_TAG) == mine or processes.is_gone(mark, since):
            store.end_run(child.info.run_id, "KILLED")
        else:
            any_live |= processes.state(mark, since) == "alive"
    return any_live


def find_job(store: Store, experiment: str, signature: str) -> FoundJob | None:
    """Return the last job with this signature that finished, or else one that runs elsewhere.

    One whose files were deleted, here and in the store, is as one that was never run.
    """
    known, experiment_id = {SIGNATURE_TAG: signature}, store.experiment(experiment)
    found = [_found_job(run) for run in store.find_runs(known, experiment_id=experiment_id)]
    there = (job for job in found if not job.folder or Path(job.folder).is_dir())
    done = [job for job in there if job.status == "finished"]
    return next(iter([*done, *(job for job in found if job.status == "running")]), None)


def read_job(store: Store, run_id: str) -> FoundJob:
    """Return the result of a job by its run."""
    return _found_job(store.patiently(store.client.get_run, run_id))


def _found_job(run: Run) -> FoundJob:
    mark, since = opened_by(run)
    is_alive = run.info.status == "RUNNING" and processes.state(mark, since) == "alive"
    others = ("dream/curve/", "system/", "time/")
    return FoundJob(
        run_id=run.info.run_id,
        status={"FINISHED": "finished"}.get(run.info.status, "running" if is_alive else "failed"),
        metrics={k: value for k, value in run.data.metrics.items() if not k.startswith(others)},
        folder=_folder(run),
        process=f"process {mark['pid']}",
    )


def _folder(run: Run) -> str:
    """Return the folder of a job's files: its own, if they are there as it left them, or a store's.

    A run that was killed may have written over some of them.
    """
    folder = Path(run.data.tags.get(FOLDER_TAG, ""))
    with contextlib.suppress(OSError, ValueError, KeyError):
        about = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        files = json.loads((folder / ".irdream" / "run.json").read_text(encoding="utf-8"))
        as_left = (folder.joinpath(name).stat().st_mtime_ns == ns for name, ns in files.items())
        if about["run_id"] == run.info.run_id and all(as_left):
            return str(folder)
    kept = urlparse(str(run.info.artifact_uri))
    return url2pathname(kept.path) if kept.scheme == "file" else ""


def adopt_job(store: Store, run_id: str, parent: str, sweep: str) -> None:
    """Put a job that finished before below another sweep, so that it is compared there."""
    store.log(run_id, tags={PARENT_TAG: parent, SWEEP_TAG: sweep})


def how_to_compare(
    store: Store,
    parent: str,
    sweep: str,
    metric: str | None,
    *,
    ascending: bool = False,
    root: Path,
    uri: str | None,
) -> str:
    """Return how to open the page of MLflow's UI with a sweep's jobs in charts, by a metric.

    Sorting by a metric flattens the page: below their parent, jobs are folded and not drawn.
    """
    experiment_id = store.patiently(store.client.get_run, parent).info.experiment_id
    search = quote(f"tags.`{SWEEP_TAG}`='{sweep}'", safe="'")
    order = quote(f"metrics.`{metric}`" if metric else "attributes.start_time")
    page = (
        f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&searchFilter={search}&orderByKey={order}&orderByAsc={str(ascending).lower()}"
    )
    if uri and uri.startswith(("http://", "https://")):
        return f"{without_password(uri).rstrip('/')}{page}"
    start = "make ui"
    if uri or not root.resolve() == Path.cwd() / "mlruns" == _CHECKOUT / "mlruns":
        database = uri or sqlite_uri(root.resolve() / DATABASE)
        start = f"'{command('ui', '--backend-store-uri', without_password(database))}'"
    return f"{start}, then http://127.0.0.1:5000{page}"
