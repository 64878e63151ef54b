from __future__ import annotations

from pathlib import Path

import pytest

from irdream.tracking import (
    MlflowTracker,
    close_sweep,
    open_sweep,
)
from irdream.tracking.store import Store, open_store
from irdream.tracking.sweeps import adopt_job, find_done, log_sweep


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(root=root)


def test_a_sweep_ends_with_its_jobs(root: Path, store: Store) -> None:
    parent, _ = open_sweep(root, "irdream", "steps")
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


def test_a_sweep_that_is_typed_again_goes_on_below_its_first_parent(root: Path, store) -> None:
    first, name = open_sweep(root, "irdream", "monday", signature="abc")
    died = MlflowTracker(root=root, parent_run_id=first, sweep=name)
    again, name_again = open_sweep(root, "irdream", "tuesday", signature="abc")
    other, other_name = open_sweep(root, "irdream", "tuesday", signature="def")

    assert (again, name_again) == (first, "monday")
    assert other != first
    assert other_name == "tuesday"
    status = {run: store.client.get_run(run).info.status for run in (first, died.run_id)}
    assert status == {first: "RUNNING", died.run_id: "KILLED"}


def test_a_job_that_finished_is_found_by_its_signature(root: Path, store: Store) -> None:
    def job(status, metric: float) -> str:
        tags = {"irdream.signature": "s", "irdream.folder": f"out/{metric:g}"}
        with_tags = MlflowTracker(root=root, tags=tags)
        with_tags.log_metrics({"dream/success": metric})
        with_tags.close(status)
        return with_tags.run_id

    job("FAILED", 1.0)
    assert find_done(root, "irdream", "s") is None
    run_id = job("FINISHED", 2.0)
    done = find_done(root, "irdream", "s")
    assert done is not None
    assert (done.run_id, done.metrics, done.folder) == (run_id, {"dream/success": 2.0}, "out/2")
    assert find_done(root, "irdream", "t") is None

    parent, name = open_sweep(root, "irdream", "later")
    adopt_job(run_id, parent, name, root=root)
    tags = store.client.get_run(run_id).data.tags
    assert (tags["mlflow.parentRunId"], tags["irdream.sweep"]) == (parent, "later")


def test_the_overview_is_kept_with_the_parent(root: Path, store: Store, tmp_path) -> None:
    parent, _ = open_sweep(root, "irdream", "steps")
    (tmp_path / "overview").mkdir()
    (tmp_path / "overview" / "jobs.csv").write_text("job")
    log_sweep(parent, tmp_path / "overview", {"sweep/failed": 1.0}, root=root)

    assert [one.path for one in store.client.list_artifacts(parent)] == ["jobs.csv"]
    assert store.client.get_run(parent).data.metrics == {"sweep/failed": 1.0}
