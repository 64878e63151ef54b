"""Runs that are marked RUNNING although their process is gone.

A process that is killed at once (kill -9, a power cut) cannot end its run. What it wrote when it
opened the run tells later that it is gone, see `irdream.processes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irdream import processes
from irdream.tracking.provenance import opened_by
from irdream.tracking.store import open_store


@dataclass(frozen=True)
class OpenRun:
    """A run that is marked RUNNING, and what became of its process."""

    run_id: str
    name: str
    host: str
    pid: str
    state: processes.State


def open_runs(*, root: Path, uri: str | None = None) -> list[OpenRun]:
    """Return all runs of a store that are marked RUNNING."""
    store = open_store(root=root, uri=uri)
    experiments = store.patiently(store.client.search_experiments)
    runs = store.patiently(
        store.client.search_runs,
        [one.experiment_id for one in experiments],
        "attributes.status = 'RUNNING'",
        max_results=50_000,
    )
    found = []
    for run in runs:
        mark, since = opened_by(run)
        found.append(
            OpenRun(
                run_id=run.info.run_id,
                name=str(run.info.run_name),
                host=mark["host"] or "unknown",
                pid=mark["pid"] or "?",
                state=processes.state(mark, since),
            )
        )
    return found


def close_dead(*, root: Path, uri: str | None = None) -> list[OpenRun]:
    """Mark the dead runs KILLED; return all that were marked RUNNING before."""
    found = open_runs(root=root, uri=uri)
    store = open_store(root=root, uri=uri)
    for run in found:
        if run.state == "dead":
            store.end_run(run.run_id, "KILLED")
    return found
