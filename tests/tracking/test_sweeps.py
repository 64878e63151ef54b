from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from irdream import processes
from irdream.tracking import (
    MlflowTracker,
    close_sweep,
    open_sweep,
)
from irdream.tracking.doctor import open_runs
from irdream.tracking.store import Store, open_store
from irdream.tracking.sweeps import adopt_job, find_job, log_sweep, read_job


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(root=root)


@pytest.fixture
def living() -> Iterator[str]:
    """The number of another process that is alive."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield str(child.pid)
    child.communicate(b"\n")


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
    died.close()


def test_each_sweep_has_a_name_of_its_own(root: Path) -> None:
    names = [open_sweep(root, "irdream", name)[1] for name in ("it's", "it's", "it's", "")]
    assert names == ["it_s", "it_s-2", "it_s-3", "sweep"]


def test_what_another_living_process_runs_is_left_to_it(root: Path, store, living: str) -> None:
    parent, name = open_sweep(root, "irdream", "monday", signature="abc")
    tags = {"irdream.pid": living, "irdream.signature": "s"}
    job = MlflowTracker(root=root, parent_run_id=parent, sweep=name, tags=tags)
    found = find_job(root, "irdream", "s")
    assert found is not None
    assert (found.status, found.process) == ("running", f"process {living}")

    assert open_sweep(root, "irdream", "tuesday", signature="abc") == (parent, name)
    assert not close_sweep(parent, "FINISHED", root=root)  # the other one will
    status = [store.client.get_run(run).info.status for run in (parent, job.run_id)]
    assert status == ["RUNNING", "RUNNING"]

    job.close()
    assert read_job(job.run_id, root=root).status == "finished"
    assert close_sweep(parent, "FINISHED", root=root)
    assert store.client.get_run(parent).info.status == "FINISHED"


def test_workers_of_an_own_sweep_end_with_it(root: Path, store: Store, living: str) -> None:
    parent, name = open_sweep(root, "irdream", "monday")
    tags = {"irdream.pid": living, "irdream.sweep_process": processes.mark()}
    job = MlflowTracker(root=root, parent_run_id=parent, sweep=name, tags=tags)
    assert close_sweep(parent, "KILLED", root=root)
    assert store.client.get_run(job.run_id).info.status == "KILLED"
    assert read_job(job.run_id, root=root).status == "failed"
    job.close()


def test_a_sweep_that_is_opened_again_is_alive(root: Path, store: Store) -> None:
    open_sweep(root, "irdream", "monday", signature="abc")
    with sqlite3.connect(root / "mlflow.db") as database:  # long ago, before this process began
        database.execute("UPDATE runs SET start_time = 1000000000000")
    assert [run.state for run in open_runs(root=root)] == ["dead"]
    open_sweep(root, "irdream", "tuesday", signature="abc")
    assert [run.state for run in open_runs(root=root)] == ["alive"]


def test_a_job_that_finished_is_found_by_its_signature(root: Path, store: Store, tmp_path) -> None:
    def job(status, metric: float) -> str:
        tags = {"irdream.signature": "s", "irdream.folder": str(tmp_path / "out")}
        with_tags = MlflowTracker(root=root, tags=tags)
        with_tags.log_metrics({"dream/at_0.9": metric})
        with_tags.close(status)
        return with_tags.run_id

    job("FAILED", 1.0)
    assert find_job(root, "irdream", "s") is None
    run_id = job("FINISHED", 2.0)
    done = find_job(root, "irdream", "s")
    assert done is not None
    assert (done.run_id, done.status, done.metrics) == (run_id, "finished", {"dream/at_0.9": 2.0})
    assert find_job(root, "irdream", "t") is None

    parent, name = open_sweep(root, "irdream", "later")
    adopt_job(run_id, parent, name, root=root)
    tags = store.client.get_run(run_id).data.tags
    assert (tags["mlflow.parentRunId"], tags["irdream.sweep"]) == (parent, "later")


def test_the_files_of_a_job_are_in_its_folder_while_that_is_its_own(root: Path, tmp_path) -> None:
    tracker = MlflowTracker(root=root, tags={"irdream.folder": str(tmp_path)})
    tracker.close()
    kept = Path(read_job(tracker.run_id, root=root).folder)
    assert kept.is_relative_to(root)
    assert (kept / "config" / "packages.txt").is_file()
    (tmp_path / "job.json").write_text(json.dumps({"run_id": tracker.run_id}))
    assert read_job(tracker.run_id, root=root).folder == str(tmp_path)
    (tmp_path / "job.json").write_text(json.dumps({"run_id": "another"}))
    assert read_job(tracker.run_id, root=root).folder == str(kept)


def test_the_overview_is_kept_with_the_parent(root: Path, store: Store, tmp_path) -> None:
    parent, _ = open_sweep(root, "irdream", "steps")
    (tmp_path / "jobs.csv").write_text("job")
    log_sweep(parent, [tmp_path / "jobs.csv"], {"sweep/failed": 1.0}, root=root)

    assert [one.path for one in store.client.list_artifacts(parent)] == ["jobs.csv"]
    assert store.client.get_run(parent).data.metrics == {"sweep/failed": 1.0}
