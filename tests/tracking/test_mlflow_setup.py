import contextlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from irdream.errors import InputError
from irdream.tracking import MlflowTracker, create_store, mlflow_setup
from irdream.tracking.store import open_store

JOBS = """
import multiprocessing
import sys
from pathlib import Path


def work(number, roots, barrier):
    from irdream.tracking import MlflowTracker

    for root in roots:
        barrier.wait(300)
        with MlflowTracker(root=root, run_name=f"job{number}", flush_seconds=0.01) as tracker:
            for step in range(20):
                tracker.log_metrics({"dream/at_0.9": step}, step=step)
            tracker.log_params({"job": f"job{number}"})
            tracker.log_file(Path(__file__))


if __name__ == "__main__":
    roots = [Path(sys.argv[1], str(store)) for store in range(int(sys.argv[2]))]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    jobs = [context.Process(target=work, args=(number, roots, barrier)) for number in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    sys.exit(sum(job.exitcode != 0 for job in jobs))
"""
STORES = 5


@pytest.mark.slow
def test_eight_processes_at_once_on_a_missing_store_lose_nothing(
    tmp_path: Path, child_environment: dict[str, str]
) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    done = subprocess.run(
        [sys.executable, "jobs.py", "stores", str(STORES)],
        cwd=tmp_path,
        env=child_environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")  # nor does MLflow talk
    for number in range(STORES):
        store = open_store(root=tmp_path / "stores" / str(number))
        client = store.client
        runs = client.search_runs([store.experiment("irdream")])
        assert sorted(run.data.params["job"] for run in runs) == [f"job{i}" for i in range(8)]
        for run in runs:
            assert run.info.status == "FINISHED"
            history = client.get_metric_history(run.info.run_id, "dream/at_0.9")
            assert sorted(point.step for point in history) == list(range(20))
            kept = {file.path for file in client.list_artifacts(run.info.run_id)}
            assert "jobs.py" in kept


def test_a_kill_while_the_store_was_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    (tmp_path / ".mlflow.db.12-ab.part").write_bytes(b"half a database")
    (tmp_path / ".mlflow.db.12-ab.part-journal").write_bytes(b"half a journal")
    create_store(tmp_path)
    assert open_store(root=tmp_path).experiment("irdream")
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock"}


def test_a_full_disk_leaves_nothing_half_made(tmp_path, monkeypatch) -> None:
    def full(uri: str, artifacts: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half a database")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", full)
    with pytest.raises(InputError, match=r"tracking store .*disk is full; free some space there"):
        create_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db.lock"]


def test_a_store_that_exists_is_left_alone(root: Path) -> None:
    before = (root / "mlflow.db").stat().st_mtime_ns
    create_store(root)
    assert (root / "mlflow.db").stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot make a tracking store in .*Not a directory"):
        create_store(tmp_path / "file" / "mlruns")


def test_a_lock_that_stays_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_setup, "PATIENCE_SECONDS", 0.05)
    with (
        FileLock(tmp_path / "mlflow.db.lock"),
        pytest.raises(InputError, match=r"another process has been making.*mlflow\.db\.lock"),
    ):
        create_store(tmp_path)


@pytest.mark.parametrize("name", ["why?", "50%", "a%20b", "my räume #1, a+b & x=1"])
def test_a_path_that_an_address_cannot_carry_as_it_is_works(name, new_store, tmp_path) -> None:
    root = shutil.copytree(new_store, tmp_path / name)
    with MlflowTracker(root=root) as tracker:
        tracker.log_text("1", "tables/table.csv")
    assert (root / "artifacts" / tracker.run_id / "artifacts/tables/table.csv").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_older_sqlalchemy_cannot_open_every_path(tmp_path: Path, monkeypatch) -> None:
    class Url:  # before version 2.1 nothing was decoded, and a `?` ended the path
        def __init__(self, uri: str) -> None:
            self.database = uri.partition(":///")[2].partition("?")[0]

    monkeypatch.setattr("sqlalchemy.make_url", Url)
    with pytest.raises(InputError, match=r"cannot open a path with '%' or '\?'; choose another"):
        create_store(tmp_path / "why?")
    assert not list(tmp_path.iterdir())


def test_a_store_in_the_home_folder_is_found(new_store, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(new_store, tmp_path / "store")
    assert open_store(root=Path("~/store")).where == str(tmp_path / "store")
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, r"is not a tracking store .*move it away"),
        ("CREATE TABLE songs (name TEXT)", r"not a tracking store .no such table: experiments"),
    ],
    ids=["text", "database"],
)
def test_another_file_under_the_name_is_said(tmp_path: Path, script, message) -> None:
    (tmp_path / "mlflow.db").write_text("" if script else "this is no database, and long enough")
    if script:
        with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
            connection.execute(script)
        connection.close()
    with pytest.raises(InputError, match=message):
        open_store(root=tmp_path)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("97727af70f4d", r"of an older version; run '.* -m mlflow db upgrade sqlite:"),
        ("ffffffffffff", r"of a newer version than 3\S+; install that one, or choose another"),
    ],
)
def test_a_store_of_another_mlflow_is_said(root: Path, version, message) -> None:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    connection.close()
    with pytest.raises(InputError, match=message):
        open_store(root=root)


def test_a_store_that_cannot_be_opened_is_said(root: Path) -> None:
    (root / "mlflow.db").unlink()
    (root / "mlflow.db").mkdir()
    (root / "mlflow.db" / "x").write_text("")
    with pytest.raises(InputError, match=r"unable to open.*; make it readable and writable"):
        mlflow_setup.adopt(root / "mlflow.db", "file:///artifacts")


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree], ids=["moved", "copied"])
def test_a_store_goes_on_where_it_is_now(move, root: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a\n1\n")
    with MlflowTracker(root=root) as before:
        before.log_file(table)
    there = Path(move(root, tmp_path / "elsewhere" / "mlruns"))
    create_store(there)  # as `make ui` does
    uri = "SELECT artifact_uri FROM runs"
    with contextlib.closing(sqlite3.connect(there / "mlflow.db")) as connection, connection:
        assert [there.as_uri() in one for (one,) in connection.execute(uri)] == [True]
    with MlflowTracker(root=there) as after:
        after.log_file(table)
    assert (there / "artifacts" / after.run_id / "artifacts" / "table.csv").is_file()
    assert not (root / "artifacts" / after.run_id).exists()
    old_run = open_store(root=there).client.get_run(before.run_id)
    assert old_run.info.artifact_uri == (there / "artifacts" / before.run_id / "artifacts").as_uri()
