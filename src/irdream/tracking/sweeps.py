"""The parent run of a sweep, and the address that shows its children side by side.

MLflow's UI folds nested runs away and then draws no chart of them; filtered by a tag of the
children and sorted by a metric it shows them flat, with charts. Hence the tag on each child and
the address below.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlencode

from irdream.tracking.base import Status
from irdream.tracking.provenance import run_tags
from irdream.tracking.runs import SWEEP_TAG
from irdream.tracking.store import open_store


def open_sweep(root: Path, experiment: str, name: str, *, uri: str | None = None) -> str:
    """Open the run that stands above a sweep's runs; return its id.

    Give the id to each job as `MlflowTracker(parent_run_id=...)`, the name as `sweep=`.
    """
    store = open_store(root=root, uri=uri)
    return store.start_run(store.experiment(experiment), name, run_tags())


def close_sweep(run_id: str, status: Status, *, root: Path, uri: str | None = None) -> None:
    """End a sweep's run; jobs of it that are still marked RUNNING died, they become KILLED."""
    store = open_store(root=root, uri=uri)
    for child in store.running_children(run_id):
        store.end_run(child, "KILLED")
    store.end_run(run_id, status)


def sweep_experiment(run_id: str, *, root: Path, uri: str | None = None) -> str:
    """Return the id of the experiment that a run belongs to, for `compare_url`."""
    store = open_store(root=root, uri=uri)
    return store.patiently(store.client.get_run, run_id).info.experiment_id


def compare_url(experiment_id: str, sweep: str, metric: str, *, ascending: bool = True) -> str:
    """Return the address, after the server's, of the charts of a sweep's runs.

    Args:
        experiment_id: see `sweep_experiment`.
        sweep: the name given to the runs as `sweep=`.
        metric: the metric to sort by; each run must have it.
        ascending: whether the least comes first.
    """
    query = {
        "workflowType": "machine_learning",
        "compareRunsMode": "CHART",
        "searchFilter": f"tags.`{SWEEP_TAG}`='{sweep}'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": str(ascending).lower(),
    }
    return f"/#/experiments/{experiment_id}/runs?{urlencode(query, quote_via=quote)}"
