import http.server
import json
import logging
import math
import os
import re
import shlex
import shutil
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, TEMPORARILY_UNAVAILABLE

from irdream.errors import InputError
from irdream.tracking import MlflowTracker, mlflow_setup
from irdream.tracking.mlflow_setup import is_away
from irdream.tracking.store import Point, Store, open_store

LOST = "API request to http://x failed with exception ('Connection aborted.', ...)"


@pytest.fixture(autouse=True)
def no_known_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRDREAM_KNOWN_SERVER", "")


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
        ("API request to http://me:word@x failed", r"http://x failed; .* and see its log"),
        ("2 files failed\nAPI request to x failed with exception", "to x failed .*; check that"),
        ("('Connection broken: IncompleteRead')", "broken: IncompleteRead'\\); check that the"),
    ],
)
def test_what_a_person_can_mend_is_said_in_one_line(store, monkeypatch, message, said) -> None:
    monkeypatch.setattr(mlflow_setup, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(InputError, match=said) as caught:
        store.patiently(failing(f"{message}\n[SQL: INSERT ...]", times=1000))
    assert "\n" not in str(caught.value)


def test_an_experiment_is_made_once(store: Store, root: Path) -> None:
    assert store.experiment("piano") == store.experiment("piano")
    assert open_store(root=root).experiment("piano") == store.experiment("piano")


def test_a_process_that_was_faster_is_no_error(store, fails_first) -> None:
    exists = {"is_done": True, "error_code": RESOURCE_ALREADY_EXISTS}
    fails_first(store.client, "create_experiment", "it exists", **exists)
    found = store.experiment("irdream")
    assert store.client.get_experiment(found).name == "irdream"


def test_the_command_that_is_given_restores_a_deleted_experiment(new_store, tmp_path) -> None:
    from click.testing import CliRunner
    from mlflow.experiments import commands

    store = open_store(root=shutil.copytree(new_store, tmp_path / "the store (1)"))
    store.client.delete_experiment(store.experiment("piano"))
    with pytest.raises(InputError, match=r"^experiment 'piano' was deleted .* or choose") as caught:
        store.experiment("piano")
    found = re.search("restore it with '(.+)' or choose", str(caught.value))
    assert found is not None
    variable, python, *words = shlex.split(found[1])
    assert (python, words[:3]) == (sys.orig_argv[0], ["-m", "mlflow", "experiments"])
    done = CliRunner().invoke(commands, words[3:], env=dict([variable.split("=", 1)]))
    assert done.exit_code == 0, done.output
    assert store.experiment("piano")


def test_a_file_that_cannot_be_copied_is_said(store, root, monkeypatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.client, "log_artifact", full)
    with pytest.raises(InputError, match=r"cannot copy a\.wav to .*No space left on device; free"):
        store.log_file("run", Path("a.wav"), "sounds")


@pytest.mark.parametrize(
    ("message", "is_so"),
    [
        ("API request to http://x/a b.wav failed with exception no route", True),
        ("API request to http://x failed with timeout exception", True),
        ("2 files failed:\n##### a\nAPI request to http://x failed with exception reset", True),
        ("('Connection broken: IncompleteRead(0 bytes read)')", True),
        ("API request to endpoint /api failed with error code 404 != 200", False),
        ("database is locked", False),
        ("[Errno 28] No space left on device", False),
    ],
)
def test_it_is_known_when_a_server_is_away(message: str, is_so: bool) -> None:
    assert is_away(MlflowException(message)) is is_so


@pytest.mark.parametrize("name", ["50%25.wav", "a#1.wav", "why?.wav"])
def test_a_name_that_a_server_would_change_is_refused(store, tmp_path, name) -> None:
    server = Store(store.client, where="http://x", artifacts=None)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"cannot keep .* takes no '[%#?]' in a name; rename it"):
        server.log_file("run", tmp_path / name, "")


def test_a_run_whose_answer_was_lost_is_found_and_not_made_twice(store, fails_first) -> None:
    fails_first(store.client, "create_run", LOST, is_done=True)
    experiment_id = store.experiment("irdream")
    run_id = store.start_run(experiment_id, "flute", {"seed": "7"})
    (run,) = store.client.search_runs([experiment_id])
    assert (run.info.run_id, run.info.run_name, run.data.tags["seed"]) == (run_id, "flute", "7")


def test_what_is_written_twice_is_there_once(store: Store) -> None:
    run_id = store.start_run(store.experiment("irdream"), None, {})
    points = [Point("a", 1.0, 5, 1), Point("a", math.nan, 5, 2), Point("a", 2.0, 5, 2)]
    for _ in range(3):
        store.log(run_id, points=points, params={"p": "1"}, tags={"t": "1"})
    history = store.client.get_metric_history(run_id, "a")
    assert sorted(str(point.value) for point in history) == ["1.0", "2.0", "nan"]


def test_words_that_are_no_utf_8_are_kept_as_text(store: Store) -> None:
    run_id = store.start_run(store.experiment("irdream"), None, {"typed": "path=Fl\udcf6te"})
    store.log(run_id, params={"path": "Fl\udcf6te"}, tags={"more": "Fl\udcf6te"})
    data = store.client.get_run(run_id).data
    assert data.params == {"path": "Fl\\xf6te"}
    assert (data.tags["typed"], data.tags["more"]) == ("path=Fl\\xf6te", "Fl\\xf6te")


def test_a_long_name_is_cut_as_postgresql_wants_it(root: Path) -> None:
    with MlflowTracker(root=root, run_name="x" * 300) as tracker:
        first = open_store(root=root).client.get_run(tracker.run_id).info.run_name
        tracker.set_tags({"mlflow.runName": "y" * 300})
    then = open_store(root=root).client.get_run(tracker.run_id).info.run_name
    assert [first, then] == ["x" * 247 + "...", "y" * 247 + "..."]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://me:secret@127.0.0.1:9", r"no tracking server answers at http://127\.0\.0\.1:9 "),
        ("ftp://x", r"cannot open the tracking store ftp://x: .*correct its"),
    ],
)
def test_where_no_server_is_it_is_said_without_the_password(uri, message, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        open_store(root=tmp_path, uri=uri)


class Ailing(http.server.BaseHTTPRequestHandler):
    """Knows one experiment, and answers first what `ills` says: a status, or 0 for none."""

    ills: ClassVar[list[int]] = []
    asked: ClassVar[int] = 0

    def do_GET(self) -> None:
        if "get-by-name" in self.path:
            type(self).asked += 1
            if self.ills:
                self.fail(self.ills.pop(0))
                return
        self.answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def answer(self) -> None:
        body = json.dumps({"experiment": {"experiment_id": "7", "name": "irdream"}})
        body = "{}" if "search" in self.path else body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def fail(self, status: int) -> None:
        if status:
            self.send_error(status)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def ailing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that can be made to fail."""
    monkeypatch.setattr(Ailing, "ills", [])
    monkeypatch.setattr(Ailing, "asked", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ailing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_is_away_for_a_while_is_waited_for(ailing, tmp_path, caplog) -> None:
    store = open_store(root=tmp_path, uri=ailing)
    Ailing.ills = [503, 0, 502, 500, 504]
    with caplog.at_level(logging.WARNING):
        assert store.experiment("irdream") == "7"
    assert Ailing.asked == 6
    said = [record.message for record in caplog.records if record.name.startswith("irdream")]
    assert said == [f"the tracking store {ailing} does not answer; waiting for it, 120 s at most"]


def test_the_patience_is_for_all_calls_together(ailing, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(mlflow_setup, "PATIENCE_SECONDS", 0.5)
    store = open_store(root=tmp_path, uri=ailing)
    Ailing.ills = [503] * 1000
    with pytest.raises(InputError, match=r"too many 503 .*; check that the server runs") as caught:
        store.experiment("irdream")
    assert "\n" not in str(caught.value)
    asked = Ailing.asked
    assert asked > 2
    with pytest.raises(InputError, match="503"):
        store.experiment("irdream")
    assert Ailing.asked == asked + 1
    Ailing.ills = []
    assert store.experiment("irdream") == "7"
    Ailing.ills = [503]
    assert store.experiment("irdream") == "7"


def test_a_server_that_answered_before_is_waited_for_at_opening(tmp_path, monkeypatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with pytest.raises(InputError, match=f"no tracking server answers at {address} "):
        open_store(root=tmp_path, uri=address)

    def start() -> None:
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", port), Ailing))
        servers[0].serve_forever()

    servers: list[http.server.ThreadingHTTPServer] = []
    monkeypatch.setenv("IRDREAM_KNOWN_SERVER", address)  # as a sweep's jobs inherit it
    threading.Timer(0.5, start).start()
    assert open_store(root=tmp_path, uri=address).experiment("irdream") == "7"
    servers[0].shutdown()
    servers[0].server_close()

    monkeypatch.setattr(mlflow_setup, "PATIENCE_SECONDS", 0.2)
    for said in (f"tracking store {address}: API", "no tracking server answers"):  # then unknown
        with pytest.raises(InputError, match=said):
            open_store(root=tmp_path, uri=address)
    assert "IRDREAM_KNOWN_SERVER" not in os.environ


def test_a_server_that_is_not_mlflow_is_said(ailing: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Ailing, "answer", lambda self: self.send_error(404))
    with pytest.raises(InputError, match=r"API request to .*; check that the server runs"):
        open_store(root=tmp_path, uri=ailing)
    assert not list(tmp_path.iterdir())


def test_what_a_server_refuses_is_not_asked_again(ailing: str, tmp_path: Path) -> None:
    store = open_store(root=tmp_path, uri=ailing)
    Ailing.ills = [403]
    with pytest.raises(InputError, match="error code 403"):
        store.experiment("irdream")
    assert Ailing.asked == 1
