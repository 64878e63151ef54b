"""A job is the same while its configuration is, and the content of all that it names."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from irdream.errors import InputError
from irdream.sweeps import signature as job_signature

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
        ({"dream": {"steps": 4}}, False),
        ({"task": {"recognizer": {"path": "mine"}}}, False),
    ],
)
def test_what_is_dreamed_decides_and_paths_devices_and_other_tasks_do_not(changes, is_same) -> None:
    same = job_signature.signature(config(**changes)) == job_signature.signature(config())
    assert same == is_same


class Place:
    """A working folder with all that a task may be given, and a configuration that names it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (
            "start.wav", "sounds/flute/a.wav", "sounds/cello/b.wav", "labels.csv",
            "elsewhere/c.wav", "one.sf2", "two.sf2", "weights/weights.safetensors",
            "weights/recognizer.json", "run/checkpoint/weights.safetensors", "my_net.py",
            "my_help.py", "home/d.wav",
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
    before = job_signature.signature(place.config())
    change(place.root)
    assert job_signature.signature(place.config()) != before


def test_a_job_is_another_once_irdreams_code_has_changed(place, monkeypatch) -> None:
    before = job_signature.signature(place.config())
    seen = []
    monkeypatch.setattr(job_signature, "code_of", lambda names: seen.extend(names) or "other code")
    assert job_signature.signature(place.config()) != before
    assert set(seen) == {"irdream", "my_net.Net", "irdream.datasets.soundfont.SoundFont"}


def touch(root: Path) -> None:
    for path in [path for path in root.rglob("*") if path.is_file()]:
        os.utime(path, (0, 0))


def write_output(root: Path) -> None:
    for name in ("rendered/a.wav", "published/report.md", "flu/a.wav", "mlruns/mlflow.db"):
        (root / name).parent.mkdir()
        (root / name).write_text("new")


@pytest.mark.parametrize("change", [touch, write_output])
def test_a_job_is_the_same_while_what_it_reads_is(place: Place, change) -> None:
    before = job_signature.signature(place.config())
    change(place.root)
    assert job_signature.signature(place.config()) == before


def test_a_package_that_a_checkpoint_may_name_counts(place: Place) -> None:
    task = {"recognizer": {"path": "weights"}}
    before = job_signature.signature(config(trust=["my_net"], task=task))
    rewrite("my_net.py")(place.root)
    assert job_signature.signature(config(trust=["my_net"], task=task)) != before


def test_a_pipe_is_never_the_same_and_an_address_that_leads_nowhere_is_the_tasks_to_tell(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> Path:
        raise InputError("no checkpoint; name another")

    os.mkfifo(place.root / "pipe")
    piped = config(task={"path": "pipe"})
    assert job_signature.signature(piped) != job_signature.signature(piped)
    monkeypatch.setattr("irdream.tracking.fetch_checkpoint", missing)
    assert job_signature.signature(place.config()) == job_signature.signature(place.config())


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
    before = job_signature.signature_of_sweep(typed)
    touch(place.root)
    assert job_signature.signature_of_sweep(typed) == before
    rewrite(name)(place.root)
    assert job_signature.signature_of_sweep(typed) != before


def test_a_sweep_is_the_same_in_whatever_order_it_was_typed(place: Place) -> None:
    def typed(*words: str) -> str:
        return job_signature.signature_of_sweep(
            place.config(hydra={"overrides": {"task": [*words]}})
        )

    assert typed("target=flu,sax", "dream.steps=1") == typed("dream.steps=1", "target=flu,sax")
    assert typed("dream.steps=1", "store=a") == typed("dream.steps=1", "store=b")
    assert typed("dream.steps=1") != typed("dream.steps=1,2")
