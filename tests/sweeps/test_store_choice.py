"""Where the runs go: typed addresses, MLflow's variables, and what wins."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from irdream.errors import InputError
from irdream.sweeps.sweep import Sweep, choose_store

VARIABLES = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"),
    *("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI"),
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def chosen(*words: str, of_sweep: Any = None) -> tuple[str, str | None, str]:
    tracker = {"_target_": "irdream.tracking.MlflowTracker", "experiment": "irdream"}
    config = OmegaConf.create({"store": "mlruns", "server": None, "tracker": tracker})
    config.merge_with_dotlist(list(words))
    choose_store(config, words, of_sweep)
    return config.store, config.server, config.tracker.experiment


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ("mlruns", None)),
        (("store=a/b",), ("a/b", None)),
        (("store=~/runs",), ("~/runs", None)),
        (("store=C:/runs",), ("C:/runs", None)),
        (("store=http://host:5000",), ("mlruns", "http://host:5000")),
        (("store=https://host/path",), ("mlruns", "https://host/path")),
        (("store=HTTP://host",), ("mlruns", "HTTP://host")),
        (("store=sqlite:///x.db",), ("mlruns", "sqlite:///x.db")),
        (("store=postgresql+psycopg2://u@h/db",), ("mlruns", "postgresql+psycopg2://u@h/db")),
        (("store=databricks",), ("mlruns", "databricks")),
        (("store=databricks://profile",), ("mlruns", "databricks://profile")),
        (("store=file:///a/b%20c",), ("/a/b c", None)),
        (("store=file:a",), ("a", None)),
        (("server=file:///a",), ("/a", None)),
        (("store=a", "server=http://host"), ("a", "http://host")),
    ],
)
def test_an_address_is_the_server_and_anything_else_a_folder(words, expected) -> None:
    assert chosen(*words)[:2] == expected


def test_a_folder_that_is_there_is_one_whatever_it_is_called(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("databricks", "my:runs"):
        assert chosen(f"store={name}")[0] == "mlruns"
        (tmp_path / name).mkdir()
        assert chosen(f"store={name}")[:2] == (name, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["store=http://a", "server=http://b"], "store=http://a and server=http://b are two addre"),
        (
            ["store=file://host/a"],
            "store=file://host/a; expected the path of a folder, or file:///",
        ),
    ],
)
def test_what_is_no_single_place_is_refused(words, message) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        chosen(*words)


def test_the_variables_of_mlflow_are_obeyed_where_nothing_was_typed(monkeypatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert chosen() == ("mlruns", "http://me:secret@host", "mine")
    assert capsys.readouterr().err.splitlines() == [
        "MLFLOW_TRACKING_URI: the tracking store is http://host",
        "MLFLOW_EXPERIMENT_NAME: the experiment is mine",
    ]
    assert chosen("store=mlruns", "tracker.experiment=irdream") == ("mlruns", None, "irdream")
    assert chosen("server=http://b", "tracker.experiment=c") == ("mlruns", "http://b", "c")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///runs")
    assert chosen()[:2] == ("/runs", None)


def test_variables_that_are_not_obeyed_are_told(monkeypatch, capsys) -> None:
    for variable in VARIABLES[2:]:
        monkeypatch.setenv(variable, "x")
    assert chosen() == ("mlruns", None, "irdream")
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" is not obeyed: ")[0] for line in told] == list(VARIABLES[2:])


def test_a_job_goes_where_its_sweep_went(monkeypatch, capsys) -> None:
    of_sweep = Sweep("monday", "out", "parent", "mine", root="/runs", server="http://host")
    assert chosen(of_sweep=of_sweep) == ("/runs", "http://host", "mine")
    assert chosen("tracker.experiment=own", of_sweep=of_sweep)[2] == "own"
    monkeypatch.setenv("MLFLOW_RUN_ID", "x")
    assert chosen("store=a", of_sweep=Sweep("monday", "out"))[:2] == ("a", None)
    assert capsys.readouterr().err == ""  # the sweep has told it
