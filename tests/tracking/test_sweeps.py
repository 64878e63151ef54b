from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from irdream.tracking import (
    MlflowTracker,
    close_sweep,
    compare_url,
    open_sweep,
    sweep_experiment,
)
from irdream.tracking.store import Store, open_store


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(root=root)


def test_a_sweep_ends_with_its_jobs(root: Path, store: Store) -> None:
    parent = open_sweep(root, "irdream", "steps")
    MlflowTracker(root=root, parent_run_id=parent, sweep="steps").close()
    dead = MlflowTracker(root=root, parent_run_id=parent, sweep="steps")
    stranger = MlflowTracker(root=root)
    close_sweep(parent, "FAILED", root=root)
    runs = store.client.search_runs([store.experiment("irdream")])
    status = {run.info.run_id: run.info.status for run in runs}
    assert sorted(status.values()) == ["FAILED", "FINISHED", "KILLED", "RUNNING"]
    assert (status[parent], status[dead.run_id]) == ("FAILED", "KILLED")
    assert status[stranger.run_id] == "RUNNING"
    for tracker in (dead, stranger):
        tracker.close()


def test_the_filter_of_the_address_finds_the_jobs_in_order(root: Path, store: Store) -> None:
    name = "dream.steps & more #1"
    parent = open_sweep(root, "irdream", name)
    for distance in (3.0, 1.0, 2.0):
        with MlflowTracker(root=root, parent_run_id=parent, sweep=name) as tracker:
            tracker.log_metrics({"dream/rmse_db": distance})
    address = compare_url(sweep_experiment(parent, root=root), name, "dream/rmse_db")
    path, _, query = urlsplit(address).fragment.partition("?")
    asked = {key: values[0] for key, values in parse_qs(query).items()}
    assert path == f"/experiments/{store.experiment('irdream')}/runs"
    assert asked["compareRunsMode"] == "CHART"
    direction = "ASC" if asked["orderByAsc"] == "true" else "DESC"
    runs = store.client.search_runs(
        [path.split("/")[2]], asked["searchFilter"], order_by=[f"{asked['orderByKey']} {direction}"]
    )
    assert [run.data.metrics["dream/rmse_db"] for run in runs] == [1.0, 2.0, 3.0]


def test_the_address_can_put_the_greatest_first() -> None:
    assert compare_url("1", "s", "dream/success", ascending=False).endswith("orderByAsc=false")
