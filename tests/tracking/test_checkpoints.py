from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from irdream.errors import InputError
from irdream.tracking import MlflowTracker, fetch_checkpoint, register_checkpoint
from irdream.tracking.store import open_store


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


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_runs_checkpoint_is_used_where_it_lies(root: Path, run_id: str, checkpoint: Path) -> None:
    found = fetch_checkpoint(f"runs:/{run_id}/checkpoint", root=root)
    assert contents(found) == contents(checkpoint)
    assert found.is_relative_to(root)


def test_a_registered_checkpoint_is_found_by_alias_and_by_version(
    root: Path, run_id: str, checkpoint: Path
) -> None:
    client = open_store(root=root).client
    client.create_registered_model("recognizer")
    client.create_model_version("recognizer", source=f"runs:/{run_id}/checkpoint", run_id=run_id)
    client.set_registered_model_alias("recognizer", "champion", "1")
    for uri in ("models:/recognizer@champion", "models:/recognizer/1"):
        assert contents(fetch_checkpoint(uri, root=root)) == contents(checkpoint)


def test_a_newer_checkpoint_takes_over_the_alias(root: Path, run_id: str, checkpoint: Path) -> None:
    assert register_checkpoint(root=root, run_id=run_id, name="net") == "models:/net@champion"
    (checkpoint / "recognizer.json").write_text('{"model": "han2016_bn"}')
    with MlflowTracker(root=root) as tracker:
        tracker.log_file(checkpoint)
    uri = register_checkpoint(root=root, run_id=tracker.run_id, name="net")
    assert contents(fetch_checkpoint(uri, root=root)) == contents(checkpoint)
    assert contents(fetch_checkpoint("models:/net/1", root=root)) != contents(checkpoint)


def test_a_moved_store_still_has_its_checkpoints(
    root: Path, run_id: str, tmp_path: Path, checkpoint: Path
) -> None:
    uri = register_checkpoint(root=root, run_id=run_id, name="net")
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
        register_checkpoint(root=root, run_id=run_id, name="net", path="elsewhere")
    with pytest.raises(MlflowException, match="name"):
        register_checkpoint(root=root, run_id=run_id, name="")
