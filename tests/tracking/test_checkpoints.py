import shutil
from pathlib import Path

import pytest

from irdream.errors import InputError
from irdream.tracking import MlflowTracker, fetch_checkpoint
from irdream.tracking.store import Store, check_names, open_store, register


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
