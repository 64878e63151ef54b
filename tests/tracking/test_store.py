from __future__ import annotations

import http.server
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, TEMPORARILY_UNAVAILABLE

from irdream.errors import InputError
from irdream.tracking import store as store_module
from irdream.tracking.store import Store, open_store


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(root=root)


def failing(message: str, *, times: int) -> Callable[[], str]:
    """Return a call that fails so many times, then answers."""
    left = [times]

    def call() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise MlflowException(message, error_code=TEMPORARILY_UNAVAILABLE)
        return "done"

    return call


def test_a_locked_database_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert store.patiently(failing("database is locked\n[SQL: ...]", times=3)) == "done"


def test_a_lock_of_another_process_is_waited_for(store: Store, root: Path) -> None:
    other = sqlite3.connect(root / "mlflow.db", check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.3, other.execute, ["ROLLBACK"])
    release.start()
    assert store.experiment("irdream")
    release.join()
    other.close()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("database is locked", "is locked; another process holds it"),
        ("database or disk is full", "disk is full; free some space"),
        ("attempt to write a readonly database", "readonly database; make it writable"),
        ("API request to http://x failed", "http://x failed; check that the server runs"),
    ],
)
def test_what_a_person_can_mend_is_said_in_one_line(
    store: Store, monkeypatch: pytest.MonkeyPatch, message: str, said: str
) -> None:
    monkeypatch.setattr(store_module, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(InputError, match=said) as caught:
        store.patiently(failing(f"{message}\n[SQL: INSERT ...]", times=1000))
    assert "\n" not in str(caught.value)


def test_other_errors_pass_through(store: Store) -> None:
    with pytest.raises(MlflowException, match="Run with id=abc not found"):
        store.end_run("abc", "FINISHED")


def test_an_experiment_is_made_once(store: Store, root: Path) -> None:
    assert store.experiment("piano") == store.experiment("piano")
    assert open_store(root=root).experiment("piano") == store.experiment("piano")


def test_a_process_that_was_faster_is_no_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = store.client.create_experiment

    def slower(name: str, artifact_location: str | None = None) -> str:
        create(name, artifact_location=artifact_location)
        raise MlflowException("it exists", error_code=RESOURCE_ALREADY_EXISTS)

    monkeypatch.setattr(store.client, "create_experiment", slower)
    found = store.experiment("irdream")
    assert store.client.get_experiment(found).name == "irdream"


def test_another_failure_to_make_an_experiment_passes_through(store: Store) -> None:
    with pytest.raises(MlflowException, match="Invalid"):
        store.experiment("")


def test_a_deleted_experiment_is_said(store: Store) -> None:
    store.client.delete_experiment(store.experiment("piano"))
    with pytest.raises(InputError, match=r"'piano' was deleted .* 'mlflow experiments restore -x"):
        store.experiment("piano")


def test_a_file_that_cannot_be_copied_is_said(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.client, "log_artifact", full)
    with pytest.raises(InputError, match=r"cannot copy a\.wav to .*No space left on device; free"):
        store.log_file("run", Path("a.wav"), "sounds")


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def other_server() -> Iterator[str]:
    """The address of a server that is not MLflow's."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_is_not_mlflow_is_said(other_server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"API request to .*; check that the server runs"):
        open_store(root=tmp_path, uri=other_server)
    assert not list(tmp_path.iterdir())


def test_no_server_is_said_at_once_and_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tracking server answers at http://127\.0\.0\.1:9 "):
        open_store(root=tmp_path, uri="http://me:secret@127.0.0.1:9")


def test_an_address_of_no_known_kind_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot open the tracking store ftp://x: .*correct its"):
        open_store(root=tmp_path, uri="ftp://x")
