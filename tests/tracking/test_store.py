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
from irdream.tracking import MlflowTracker, fetch_checkpoint, mlflow_setup
from irdream.tracking.mlflow_setup import is_away
from irdream.tracking.store import Point, Store, check_names, open_store, register

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


AUTOFLUSH = "(raised as a result of Query-invoked autoflush; consider using a block)\n"


@pytest.mark.parametrize("hint", ["", AUTOFLUSH])
def test_a_locked_database_is_waited_for(store, monkeypatch, hint: str) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert store.patiently(failing(f"{hint}database is locked\n[SQL: ...]", times=3)) == "done"


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
        (f"{AUTOFLUSH}attempt to write a readonly database", ": attempt .* database; make it"),
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
        ("localhost:5000", r"tracking store localhost:5000: .*correct its .*http://HOST:5000"),
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


# Checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"\x80\x04 whatever it is, it is not opened")
    (folder / "recognizer.json").write_text('{"model": "han2016"}')
    return folder


@pytest.fixture
def run_id(root: Path, checkpoint: Path) -> str:
    with MlflowTracker(root=root) as tracker:
        tracker.log_file(checkpoint)
    return tracker.run_id


def registered(root: Path, run_id: str, *, store: Store | None = None, **more: str) -> str:
    names = {"name": "net", "path": "checkpoint", "alias": "champion"}
    return register(store or open_store(root=root), run_id, **{**names, **more})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_runs_checkpoint_is_used_where_it_lies(root: Path, run_id: str, checkpoint: Path) -> None:
    found = fetch_checkpoint(f"runs:/{run_id}/checkpoint", root=root)
    assert contents(found) == contents(checkpoint)
    assert found.is_relative_to(root)


def test_a_moved_store_still_has_its_checkpoints(root, run_id, tmp_path, checkpoint) -> None:
    uri = registered(root, run_id)
    there = Path(shutil.move(root, tmp_path / "moved"))
    found = fetch_checkpoint(uri, root=there)
    assert contents(found) == contents(checkpoint)
    assert found.is_relative_to(there)


@pytest.mark.parametrize(
    "uri",
    [
        "runs:/abc",
        "models:/net",
        "models:/net@",
        "checkpoint",
        "s3://bucket/x",
        "models:/@champion",
    ],
)
def test_another_form_of_address_is_refused(uri: str, root: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the checkpoint address .*; expected 'runs:"):
        fetch_checkpoint(uri, root=root)


def test_a_missing_store_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no tracking store in .*; name the checkpoint"):
        fetch_checkpoint("models:/net@champion", root=tmp_path / "mlruns")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri",
    [
        "runs:/0123456789abcdef0123456789abcdef/checkpoint",
        "runs:/{run_id}/elsewhere",
        "runs:/{run_id}/checkpoint/recognizer.json",
        "runs:/{run_id}/../..",
        "models:/net@champion",
        "models:/net/7",
    ],
)
def test_a_missing_checkpoint_is_said_in_one_line(uri: str, root: Path, run_id: str) -> None:
    with pytest.raises(InputError, match=r"no checkpoint folder at .*; see the run's") as caught:
        fetch_checkpoint(uri.format(run_id=run_id), root=root)
    assert "\n" not in str(caught.value)


def test_registering_nothing_is_refused(root: Path, run_id: str) -> None:
    with pytest.raises(InputError, match=r"no checkpoint folder at runs:/.*/elsewhere"):
        registered(root, run_id, path="elsewhere")
    with pytest.raises(InputError, match=r"cannot register runs:/0123/checkpoint as 'net' in "):
        registered(root, "0123")


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "a@b", "..", "-a", "a b", "a" * 101])
def test_a_name_that_no_address_could_hold_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"train\.register='.*'; expected a name of letters"):
        check_names(name, "champion")


@pytest.mark.parametrize("alias", ["", "a/b", "a@b", "latest", "Latest", "v2", "a.b", "a" * 101])
def test_an_alias_that_mlflow_refuses_is_refused(alias: str) -> None:
    with pytest.raises(InputError, match=r"train\.alias='.*'; expected a word of letters"):
        check_names("net", alias)


def test_a_run_registers_its_own_checkpoint(root: Path, checkpoint: Path) -> None:
    with MlflowTracker(root=root) as tracker:
        tracker.log_file(checkpoint)
        assert tracker.register("net") == "models:/net@champion"
        assert tracker.register("net", alias="second") == "models:/net@second"
        with pytest.raises(InputError, match=r"train\.register=''; expected a name"):
            tracker.register("")
    of_alias = open_store(root=root).client.get_model_version_by_alias
    assert [of_alias("net", alias).version for alias in ("champion", "second")] == [1, 2]
    assert of_alias("net", "champion").run_id == tracker.run_id


@pytest.mark.parametrize(
    ("call", "message", "is_done"),
    [
        ("set_registered_model_alias", "UNIQUE constraint failed", False),  # of two processes
        ("create_model_version", "database is locked", True),  # the answer was lost
    ],
)
def test_what_fails_at_first_is_there_once(root, run_id, fails_first, call, message, is_done):
    store = open_store(root=root)
    fails_first(store.client, call, message, is_done=is_done)
    registered(root, run_id, store=store)
    assert store.client.get_model_version_by_alias("net", "champion").version == 1
    assert len(store.client.search_model_versions("name = 'net'")) == 1
