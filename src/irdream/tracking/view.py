"""The page of MLflow's UI that compares a sweep's jobs: flat, in charts over what was swept.

MLflow keeps a view that somebody shares as a tag of the experiment, in JSON: what is searched
for, the order, and the charts with their axes. Here such a view is written for each sweep; seen
in MLflow 3.17. A version that cannot read it shows its own charts of all runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from irdream.tracking.database import DATABASE, sqlite_uri
from irdream.tracking.mlflow_setup import command, without_password
from irdream.tracking.runs import SWEEP_TAG
from irdream.tracking.store import open_store

VIEW_TAG = "mlflow.sharedViewState"
SECTION = "sweep"
_CHECKOUT = Path(__file__).resolve().parents[3]  # where `make ui` is known, of mlruns/
BARS = 2000  # runs in a chart at most
_AXES, _METRICS = 6, 3  # of the parallel coordinates, at most


def share_view(
    parent: str,
    sweep: str,
    *,
    swept: Sequence[str],
    metrics: Sequence[str],
    root: Path,
    uri: str | None = None,
) -> str:
    """Keep a view of a sweep's runs and return its address, after the server's.

    Args:
        parent: the sweep's run.
        sweep: the name given to the runs as `sweep=`.
        swept: the parameters that differ; those that the runs have become axes.
        metrics: the main one first.
        root: of the local store.
        uri: the address of a tracking server, used in place of `root`.
    """
    store = open_store(root=root, uri=uri)
    experiment_id = store.patiently(store.client.get_run, parent).info.experiment_id
    params = [run.data.params for run in store.find_runs(experiment_id, {SWEEP_TAG: sweep})]
    axes = [key for key in swept if any(key in one for one in params)]
    numeric = [key for key in axes if all(_is_number(one.get(key, "")) for one in params)]
    state = {
        "searchFilter": f"tags.`{SWEEP_TAG}`='{sweep}'",
        "orderByKey": f"metrics.`{metrics[0]}`" if metrics else "attributes.start_time",
        "orderByAsc": False,
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # this section stays the first
        "compareRunSections": [
            {"uuid": SECTION, "name": SECTION, "display": True, "isReordered": True}
        ],
        "compareRunCharts": charts(axes, numeric, metrics),
    }
    key = hashlib.sha256(sweep.encode()).hexdigest()[:32]
    store.patiently(
        store.client.set_experiment_tag, experiment_id, f"{VIEW_TAG}.{key}", json.dumps(state)
    )
    asked = {
        "workflowType": "machine_learning",
        "compareRunsMode": "CHART",
        "viewStateShareKey": key,
    }
    return f"/#/experiments/{experiment_id}/runs?{urlencode(asked)}"


def how_to_open(view: str, *, root: Path, uri: str | None = None) -> str:
    """Return how to open a page of MLflow's UI, whose address after the server's is `view`."""
    if uri and uri.startswith(("http://", "https://")):
        return f"{without_password(uri).rstrip('/')}{view}"
    start = "make ui"
    if uri or not root.resolve() == Path.cwd() / "mlruns" == _CHECKOUT / "mlruns":
        database = uri or sqlite_uri(root.resolve() / DATABASE)
        start = f"'{command('ui', '--backend-store-uri', without_password(database))}'"
    return f"{start}, then http://127.0.0.1:5000{view}"


def charts(
    axes: Sequence[str], numeric: Sequence[str], metrics: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Return the charts as MLflow's UI keeps them.

    Parallel coordinates through all axes; the main metric over the first two axes that are
    numbers, as a contour, and over each of them as a scatter; a bar a run for each metric.
    """
    if not metrics:
        return []
    z = _axis(metrics[0], "METRIC")
    made: list[dict[str, Any]] = []
    if axes:
        through = {"selectedParams": axes[:_AXES], "selectedMetrics": metrics[:_METRICS]}
        made.append({"type": "PARALLEL", **through, "showAllRuns": True})
    if len(numeric) > 1:
        x, y = (_axis(key, "PARAM") for key in numeric[:2])
        made.append({"type": "CONTOUR", "xaxis": x, "yaxis": y, "zaxis": z})
    for key in numeric[:2]:
        made.append({"type": "SCATTER", "xaxis": _axis(key, "PARAM"), "yaxis": z})
    made += [{"type": "BAR", "metricKey": metric} for metric in metrics]
    shared = {
        "metricSectionId": SECTION,
        "runsCountToCompare": BARS,
        "deleted": False,
        "isGenerated": False,
    }
    return [{**shared, "uuid": f"{SECTION}-{i}", **chart} for i, chart in enumerate(made)]


def _axis(key: str, kind: str) -> dict[str, str]:
    return {"key": key, "type": kind}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
