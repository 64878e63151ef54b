import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from irdream import processes
from irdream.tasks.doctor import doctor
from irdream.tracking import MlflowTracker, sweeps
from irdream.tracking.store import Store
from irdream.tracking.tracker import PARENT_TAG, SWEEP_TAG


def below(parent: str, sweep: str) -> dict[str, str]:
    """Return what a job is tagged with."""
    return {PARENT_TAG: parent, SWEEP_TAG: sweep}


@pytest.fixture
def living() -> Iterator[str]:
    """The number of another process that is alive."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield str(child.pid)
    child.communicate(b"\n")


def test_a_sweep_ends_with_its_jobs(root: Path, store: Store) -> None:
    parent, _ = sweeps.open_sweep(store, "irdream", "steps")
    MlflowTracker(root=root, tags=below(parent, "steps")).close()
    dead = MlflowTracker(root=root, tags=below(parent, "steps"))
    stranger = MlflowTracker(root=root)
    sweeps.close_sweep(store, parent, "FAILED")
    runs = store.client.search_runs([store.experiment("irdream")])
    status = {run.info.run_id: run.info.status for run in runs}
    assert sorted(status.values()) == ["FAILED", "FINISHED", "KILLED", "RUNNING"]
    assert (status[parent], status[dead.run_id]) == ("FAILED", "KILLED")
    assert status[stranger.run_id] == "RUNNING"
    for tracker in (dead, stranger):
        tracker.close()


def test_a_sweep_that_is_typed_again_goes_on_below_its_first_parent(root: Path, store) -> None:
    first, name = sweeps.open_sweep(store, "irdream", "monday", signature="abc")
    died = MlflowTracker(root=root, tags=below(first, name))
    again, name_again = sweeps.open_sweep(store, "irdream", "tuesday", signature="abc")
    other, other_name = sweeps.open_sweep(store, "irdream", "tuesday", signature="def")

    assert (again, name_again) == (first, "monday")
    assert other != first
    assert other_name == "tuesday"
    status = {run: store.client.get_run(run).info.status for run in (first, died.run_id)}
    assert status == {first: "RUNNING", died.run_id: "KILLED"}
    died.close()


def test_each_sweep_has_a_name_of_its_own(store: Store) -> None:
    names = [sweeps.open_sweep(store, "irdream", name)[1] for name in ("it's", "it's", "it's", "")]
    assert names == ["it_s", "it_s-2", "it_s-3", "sweep"]


def test_what_another_living_process_runs_is_left_to_it(root: Path, store, living: str) -> None:
    parent, name = sweeps.open_sweep(store, "irdream", "monday", signature="abc")
    tags = {"irdream.pid": living, "irdream.signature": "s"}
    job = MlflowTracker(root=root, tags={**below(parent, name), **tags})
    found = sweeps.find_job(store, "irdream", "s")
    assert found is not None
    assert (found.status, found.process) == ("running", f"process {living}")

    assert sweeps.open_sweep(store, "irdream", "tuesday", signature="abc") == (parent, name)
    assert not sweeps.close_sweep(store, parent, "FINISHED")  # the other one will
    status = [store.client.get_run(run).info.status for run in (parent, job.run_id)]
    assert status == ["RUNNING", "RUNNING"]

    job.close()
    assert sweeps.read_job(store, job.run_id).status == "finished"
    assert sweeps.close_sweep(store, parent, "FINISHED")
    assert store.client.get_run(parent).info.status == "FINISHED"


def test_workers_of_an_own_sweep_end_with_it(root: Path, store: Store, living: str) -> None:
    parent, name = sweeps.open_sweep(store, "irdream", "monday")
    tags = {"irdream.pid": living, "irdream.sweep_process": processes.mark()}
    job = MlflowTracker(root=root, tags={**below(parent, name), **tags})
    assert sweeps.close_sweep(store, parent, "KILLED")
    assert store.client.get_run(job.run_id).info.status == "KILLED"
    assert sweeps.read_job(store, job.run_id).status == "failed"
    job.close()


def test_a_sweep_that_is_opened_again_is_alive(root: Path, store: Store) -> None:
    sweeps.open_sweep(store, "irdream", "monday", signature="abc")
    # Long ago, before this process began.
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET start_time = 1000000000000")
    sweeps.open_sweep(store, "irdream", "tuesday", signature="abc")
    assert doctor(store=root) == {"doctor/closed": 0, "doctor/alive": 1, "doctor/elsewhere": 0}


def test_a_job_that_finished_is_found_by_its_signature(root: Path, store: Store, tmp_path) -> None:
    def job(status, metric: float) -> str:
        tags = {"irdream.signature": "s", "irdream.folder": str(tmp_path / "out")}
        with_tags = MlflowTracker(root=root, tags=tags)
        with_tags.log_metrics({"dream/at_0.9": metric})
        with_tags.close(status)
        return with_tags.run_id

    job("FAILED", 1.0)
    assert sweeps.find_job(store, "irdream", "s") is None
    run_id = job("FINISHED", 2.0)
    done = sweeps.find_job(store, "irdream", "s")
    assert done is not None
    assert (done.run_id, done.status, done.metrics) == (run_id, "finished", {"dream/at_0.9": 2.0})
    assert sweeps.find_job(store, "irdream", "t") is None

    parent, name = sweeps.open_sweep(store, "irdream", "later")
    sweeps.adopt_job(store, run_id, parent, name)
    tags = store.client.get_run(run_id).data.tags
    assert (tags["mlflow.parentRunId"], tags["irdream.sweep"]) == (parent, "later")

    shutil.rmtree(done.folder)
    assert sweeps.find_job(store, "irdream", "s") is None


def test_a_jobs_files_are_in_its_folder_while_that_is_its_own(root, store, tmp_path) -> None:
    tracker = MlflowTracker(root=root, tags={"irdream.folder": str(tmp_path)})
    tracker.close()
    kept = Path(sweeps.read_job(store, tracker.run_id).folder)
    assert kept.is_relative_to(root)
    assert (kept / "config" / "packages.txt").is_file()
    (tmp_path / "job.json").write_text(json.dumps({"run_id": tracker.run_id}))
    (table := tmp_path / "dreams.csv").write_text("kept")
    (tmp_path / ".irdream").mkdir()
    listed = json.dumps({"dreams.csv": table.stat().st_mtime_ns})
    (tmp_path / ".irdream" / "run.json").write_text(listed)
    assert sweeps.read_job(store, tracker.run_id).folder == str(tmp_path)
    written_ns = table.stat().st_mtime_ns
    os.utime(table, ns=(written_ns + 1000, written_ns + 1000))  # by a run that was killed
    assert sweeps.read_job(store, tracker.run_id).folder == str(kept)
    os.utime(table, ns=(written_ns, written_ns))
    (tmp_path / "job.json").write_text(json.dumps({"run_id": "another"}))
    assert sweeps.read_job(store, tracker.run_id).folder == str(kept)


def test_the_page_that_compares_finds_the_jobs_in_order(root: Path, store: Store) -> None:
    name = "dream.steps & more #1"
    parent, _ = sweeps.open_sweep(store, "irdream", name)
    for distance in (3.0, 1.0, 2.0):
        with MlflowTracker(root=root, tags=below(parent, name)) as tracker:
            tracker.log_metrics({"dream/rmse_db": distance})
    asked = {}
    for metric in ("dream/rmse_db", None):
        address = sweeps.how_to_compare(
            store, parent, name, metric, root=root, uri="http://u:p@host:1/"
        )
        assert address.startswith("http://host:1/#/experiments/1/runs?")
        query = urlsplit(address).fragment.partition("?")[2]
        asked[metric] = {key: value for key, (value,) in parse_qs(query).items()}
    assert asked[None]["orderByKey"] == "attributes.start_time"
    page = asked["dream/rmse_db"]
    assert (page["compareRunsMode"], page["orderByAsc"]) == ("CHART", "false")
    order = [f"{page['orderByKey']} DESC"]
    runs = store.client.search_runs(["1"], page["searchFilter"], order_by=order)
    assert [run.data.metrics["dream/rmse_db"] for run in runs] == [3.0, 2.0, 1.0]


def test_how_a_page_is_opened_depends_on_where_the_runs_are(store, tmp_path, monkeypatch) -> None:
    parent, _ = sweeps.open_sweep(store, "irdream", "a")

    def opened(folder: Path, root: str, uri: str | None = None) -> str:
        monkeypatch.chdir(folder)
        said = sweeps.how_to_compare(store, parent, "a", None, root=Path(root), uri=uri)
        return said.partition("/#/")[0]

    checkout = Path(__file__).parents[2]
    local = "then http://127.0.0.1:5000"
    assert opened(checkout, "mlruns") == f"make ui, {local}"
    for folder, root in ((tmp_path, "mlruns"), (checkout, str(tmp_path / "mlruns"))):
        uri = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
        expected = rf"'.* -m mlflow ui --backend-store-uri {uri}', {local}"
        assert re.fullmatch(expected, opened(folder, root))
    assert "--backend-store-uri sqlite:///x.db'" in opened(checkout, "mlruns", "sqlite:///x.db")
