"""A sweep is told from its jobs' files; its runs have a place, and its jobs a signature."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from irdream.errors import InputError
from irdream.sweeps import sweep
from irdream.sweeps.job import Job
from irdream.sweeps.sweep import Sweep, choose_store


def test_jobs_are_read_back_in_their_order(tmp_path: Path) -> None:
    folder = str(tmp_path)
    jobs = [
        Job(["a=1", "b=2"], "out/x", number=10, status="finished", seconds=2.0),
        Job(["a=1", "b=3"], "out/2", number=2, status="failed", error="error: no"),
        Job(["a=1", "b=4"], "out/3", number=3),
        Job(["a=1", "b=5"], "out/4", number=4, status="skipped", found_in="old/4"),
    ]
    jobs[0].metrics = {"dream/at_0.9": 0.5}
    for job in jobs:
        job.sweep = job.sweep_folder = folder
        job.write()
    read, damaged = sweep.read_jobs(tmp_path, sweep=folder)
    assert damaged == []

    assert [job.number for job in read] == [2, 3, 4, 10]
    assert [job.status for job in read] == ["failed", "killed", "skipped", "finished"]
    assert [str(job.files) for job in read] == ["out/2", "out/3", "old/4", "out/x"]
    assert sweep.read_jobs(tmp_path, sweep="of another")[0][1].status == "running elsewhere"

    lines = sweep.table(read).splitlines()
    assert lines[0] == "sweep: 4 jobs, 1 finished, 1 skipped, 1 failed, 1 killed"
    assert lines[2].split() == ["2", "b=3", "failed", "0.0", "-", "error:", "no"]
    assert lines[5].split() == ["10", "b=2", "finished", "2.0", "0.5"]


def test_the_jobs_of_earlier_sweeps_are_forgotten(tmp_path: Path) -> None:
    for number in range(3):
        Job([], f"out/{number}", number, sweep_folder=str(tmp_path), status="finished").write()
    assert len(sweep.read_jobs(tmp_path)[0]) == 3
    sweep.forget_jobs(tmp_path)
    assert sweep.read_jobs(tmp_path) == ([], [])


def test_a_sweep_without_jobs_says_so() -> None:
    assert sweep.table([]) == "sweep: no job was started"


@pytest.mark.parametrize(
    ("status", "words", "parent", "said"),
    [
        (
            "finished",
            [],
            "7",
            "finished jobs are kept in {}; type the same line again, and they ar",
        ),
        ("finished", ["sweep.force=true"], "7", "finished jobs are kept in {}"),
        ("finished", [], None, "finished jobs are kept in {}"),
        ("killed", [], "7", "no job was finished"),
    ],
)
def test_a_sweep_that_is_interrupted_says_what_is_kept(
    status, words, parent, said, tmp_path, monkeypatch
) -> None:
    ended = []

    def end(*, killed: bool) -> None:
        ended.append(killed)
        sweep.ending.jobs = [Job([], str(tmp_path), status=status)]

    open_one = sweep.Sweep("nightly", str(tmp_path), parent=parent, words=words)
    monkeypatch.setattr(sweep, "current", lambda: open_one)
    monkeypatch.setattr(sweep, "end", end)
    monkeypatch.setattr(sweep, "ending", sweep.Ending(is_open=True))
    assert sweep.interrupt().startswith(said.format(tmp_path))
    assert ended == [True]


def test_the_parent_run_is_closed_although_nobody_reads_the_table(tmp_path, monkeypatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    closed = []
    monkeypatch.setattr(sweep, "ending", sweep.Ending())
    monkeypatch.setattr(Sweep, "store", lambda _: None)
    monkeypatch.setattr("irdream.tracking.sweeps.close_sweep", lambda *given: closed.append(given))
    monkeypatch.setattr(sweep, "print", broken, raising=False)
    with pytest.raises(BrokenPipeError):
        sweep._end(Sweep("x", str(tmp_path), "7"), False)
    assert closed == [(None, "7", "FAILED")]


def test_where_no_sweep_is_open_none_is_interrupted() -> None:
    assert sweep.interrupt() == ""


# Where the runs go: typed addresses, MLflow's variables, and what wins


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


def test_a_job_without_tracking_goes_nowhere_beside_others_that_are_tracked() -> None:
    of_sweep = Sweep("monday", "out", "parent", "mine", root="/runs", server=None)
    tracker = {"_target_": "irdream.tracking.NullTracker"}
    config = OmegaConf.create({"store": "mlruns", "server": None, "tracker": tracker})
    choose_store(config, [], of_sweep)
    assert (config.tracker, config.store) == (tracker, "/runs")


# A job is the same while its configuration is, and the content of all that it names


CONFIG = {
    "seed": 0, "target": "flu", "dream": {"steps": 3}, "train": {"epochs": 20},
    "task": {
        "target": "${target}", "steps": "${dream.steps}", "device": "cpu",
        "recognizer": {"path": "shipped", "store": "a"},
    },
    "tracker": {"_target_": "irdream.tracking.MlflowTracker", "experiment": "irdream"},
    "store": "mlruns", "server": None, "cache_dir": None, "trust": [], "sweep": {"force": False},
}  # fmt: skip


def config(**changes: Any) -> Any:
    return OmegaConf.merge(OmegaConf.create(CONFIG), OmegaConf.create(changes))


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"store": "elsewhere"}, True),
        ({"tracker": {"experiment": "other"}}, True),
        ({"sweep": {"force": True}}, True),
        ({"train": {"epochs": 3}}, True),  # no part of this task
        ({"task": {"device": "cuda"}}, True),
        ({"task": {"recognizer": {"store": "b"}}}, True),
        ({"target": "sax"}, False),
        ({"seed": 1}, False),
        ({"dream": {"steps": 3.0}}, True),
        ({"dream": {"steps": 4}}, False),
        ({"task": {"recognizer": {"path": "mine"}}}, False),
    ],
)
def test_what_is_dreamed_decides_and_paths_devices_and_other_tasks_do_not(changes, is_same) -> None:
    same = sweep.signature(config(**changes)) == sweep.signature(config())
    assert same == is_same


class Place:
    """A working folder with all that a task may be given, and a configuration that names it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (
            "start.wav", "sounds/flute/a.wav", "sounds/cello/b.wav", "labels.csv",
            "elsewhere/c.wav", "one.sf2", "two.sf2", "weights/weights.safetensors",
            "weights/recognizer.json", "run/checkpoint/weights.safetensors", "my_net.py",
            "my_help.py", "home/d.wav", "my_notes/note.wav",
        ):  # fmt: skip
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        (root / "my_net.py").write_text("import my_help")
        (root / "my_help.py").write_text("")
        (root / "sounds" / "linked").symlink_to(root / "elsewhere")

    def config(self, **changes: Any) -> Any:
        task = {
            "path": "start.wav",
            "home": "~/d.wav",
            "dataset": {"root": str(self.root / "sounds"), "labels_csv": "labels.csv"},
            "fonts": ["TimGM6mb", "one.sf2", "two.sf2"],
            "recognizer": {"path": "weights"},
            "other": {"path": "runs:/1/checkpoint"},
            "model": {"_target_": "my_net.Net", "width": 3},
            "music": {"_target_": "irdream.datasets.soundfont.SoundFont", "root": "rendered"},
            "notes": {
                "_target_": "irdream.datasets.notes.Notes",
                "root": "my_notes",
                "rendered": "played",
            },
            "publish": "published",
        }
        return config(**{"task": task, **changes})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("irdream.fingerprint._first_seen", {})
    run = tmp_path / "run" / "checkpoint"
    monkeypatch.setattr("irdream.tracking.fetch_checkpoint", lambda *_, **__: run)
    return Place(tmp_path)


def rewrite(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text((root / name).read_text()[::-1] + "\n")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a sound": rewrite("start.wav"),
    "a sound in the home folder": rewrite("home/d.wav"),
    "a sound of a data set": rewrite("sounds/flute/a.wav"),
    "a recorded note": rewrite("my_notes/note.wav"),
    "a sound behind a link": rewrite("elsewhere/c.wav"),
    "a label that is a folder": lambda root: (root / "sounds/flute").rename(root / "sounds/violin"),
    "labels in a table": rewrite("labels.csv"),
    "one font of several": rewrite("two.sf2"),
    "a checkpoint's weights": rewrite("weights/weights.safetensors"),
    "a checkpoint behind an alias": rewrite("run/checkpoint/weights.safetensors"),
    "code of one's own": lambda root: (root / "my_net.py").write_text("import my_help  # again"),
    "code that this imports": lambda root: (root / "my_help.py").write_text("HELP = 1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_job_is_another_once_what_it_reads_has_changed(place: Place, change) -> None:
    before = sweep.signature(place.config())
    change(place.root)
    assert sweep.signature(place.config()) != before


def test_a_job_is_another_once_irdreams_code_has_changed(place, monkeypatch) -> None:
    before = sweep.signature(place.config())
    seen = []
    monkeypatch.setattr(sweep, "code_of", lambda names: seen.extend(names) or "other code")
    assert sweep.signature(place.config()) != before
    music = {"irdream.datasets.soundfont.SoundFont", "irdream.datasets.notes.Notes"}
    assert set(seen) == {"irdream", "my_net.Net", *music}


def touch(root: Path) -> None:
    for path in [path for path in root.rglob("*") if path.is_file()]:
        os.utime(path, (0, 0))


def write_output(root: Path) -> None:
    for name in (
        "rendered/a.wav", "played/a.wav", "published/report.md", "flu/a.wav", "mlruns/mlflow.db"
    ):  # fmt: skip
        (root / name).parent.mkdir()
        (root / name).write_text("new")


@pytest.mark.parametrize("change", [touch, write_output])
def test_a_job_is_the_same_while_what_it_reads_is(place: Place, change) -> None:
    before = sweep.signature(place.config())
    change(place.root)
    assert sweep.signature(place.config()) == before


def test_a_package_that_a_checkpoint_may_name_counts(place: Place) -> None:
    task = {"recognizer": {"path": "weights"}}
    before = sweep.signature(config(trust=["my_net"], task=task))
    rewrite("my_net.py")(place.root)
    assert sweep.signature(config(trust=["my_net"], task=task)) != before


def test_a_pipe_is_never_the_same_and_an_address_that_leads_nowhere_is_the_tasks_to_tell(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> Path:
        raise InputError("no checkpoint; name another")

    os.mkfifo(place.root / "pipe")
    piped = config(task={"path": "pipe"})
    assert sweep.signature(piped) != sweep.signature(piped)
    monkeypatch.setattr("irdream.tracking.fetch_checkpoint", missing)
    assert sweep.signature(place.config()) == sweep.signature(place.config())


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["start.path=a.wav,b.wav"], "b.wav"),
        (["start.path='[cel] c.wav',a.wav"], "[cel] c.wav"),
        (["dataset.fonts=[a.wav,b.wav]"], "b.wav"),
        ([], "start.wav"),  # that stands in a yaml
    ],
)
def test_a_sweep_is_another_once_a_file_that_was_typed_has_changed(place, words, name) -> None:
    for file in ("a.wav", "b.wav", "[cel] c.wav"):
        (place.root / file).write_text(file)
    typed = place.config(hydra={"overrides": {"task": words}})
    before = sweep.signature_of_sweep(typed)
    touch(place.root)
    assert sweep.signature_of_sweep(typed) == before
    rewrite(name)(place.root)
    assert sweep.signature_of_sweep(typed) != before


def test_a_sweep_is_the_same_in_whatever_order_it_was_typed(place: Place) -> None:
    def typed(*words: str) -> str:
        return sweep.signature_of_sweep(place.config(hydra={"overrides": {"task": [*words]}}))

    assert typed("target=flu,sax", "dream.steps=1") == typed("dream.steps=1", "target=flu,sax")
    assert typed("dream.steps=1", "store=a") == typed("dream.steps=1", "store=b")
    assert typed("dream.steps=1") != typed("dream.steps=1,2")
