"""Settings, storages, samplers, and what a study does without Hydra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from hydra_plugins.irdream import _optuna_methods as methods
from hydra_plugins.irdream._optuna_pruning import reporting
from hydra_plugins.irdream._optuna_settings import (
    Settings,
    batch_size,
    check_targets,
    objectives_of,
)
from hydra_plugins.irdream._optuna_space import read_space
from hydra_plugins.irdream._optuna_storage import Place, place_of
from hydra_plugins.irdream._optuna_study import Search, open_study
from irdream.errors import InputError
from irdream.processes import this_process
from irdream.tracking.base import NullTracker

optuna = pytest.importorskip("optuna", minversion="4")
YAML = Path(__file__).parents[2] / "conf" / "hydra" / "sweeper" / "optuna.yaml"
BOTH: Any = {"a": "minimize", "b": "minimize"}


def search(root: Path, *, trials: int, **settings: Any) -> Search:
    space = read_space({}, ["x=interval(0,1)", "word=u,v"])
    place = Place("study", f"sqlite:///{settings.pop('file', 'study.db')}", root)
    study = open_study(place, objectives={"loss": "minimize"}, space=space)
    sampler = methods.sampler_maker(Settings(**settings), objectives=1, batch=1)
    return Search(study, place, space, {"loss": "minimize"}, trials, 1, sampler)


def run(one: Search) -> list[dict[str, Any]]:
    while batch := one.ask():
        for trial in batch:
            one.tell(trial, {"loss": trial.params["x"]})
    return [trial.params for trial in one.study.trials]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 0}, "hydra.sweeper.trials=0; expected a whole number, at least 1"),
        ({"trials": True}, "hydra.sweeper.trials=True; expected a whole number"),
        ({"n_jobs": 0}, "hydra.sweeper.n_jobs=0; expected a whole number, at least 1"),
        ({"seed": -1}, "hydra.sweeper.seed=-1; expected a whole number, at least 0"),
        ({"params": "x"}, "hydra.sweeper.params='x'; expected keys with what to search"),
        ({"objectives": "loss"}, "objectives='loss'; expected metrics with directions"),
        ({"objectives": {}}, "objectives={}; expected metrics with directions"),
        ({"objectives": {"a": "least"}}, "a: 'least'; expected maximize or minimize"),
        (
            {"objectives": BOTH, "pruner": "median"},
            "pruner='median' with 2 objectives; expected one objective, or pruner=null",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**settings)


@pytest.mark.parametrize(
    ("task", "objectives"),
    [("dream", {"dream/wav_at_0.9": "maximize"}), ("train", {"val/loss": "minimize"})],
)
def test_the_task_decides_on_the_objective_unless_one_is_set(task, objectives) -> None:
    assert objectives_of(Settings(), task) == objectives
    assert objectives_of(Settings(objectives=BOTH), task) == BOTH


def test_a_task_without_a_headline_needs_an_objective() -> None:
    with pytest.raises(InputError, match="objectives is not set, and task=prepare has no headline"):
        objectives_of(Settings(), "prepare")


def test_a_batch_is_what_the_launcher_runs_at_once() -> None:
    assert batch_size(Settings(), {}) == 1
    assert batch_size(Settings(), {"n_jobs": 3}) == 3
    assert batch_size(Settings(), {"n_jobs": -1}) >= 1
    assert batch_size(Settings(n_jobs=2), {"n_jobs": 3}) == 2
    assert batch_size(Settings(), {"array_parallelism": 256}) == 1


def test_a_yaml_calls_optuna_and_what_is_trusted() -> None:
    node = {"_target_": "optuna.samplers.Own", "inner": [{"_target_": "mine.Own"}]}
    with pytest.raises(InputError, match=r"sampler: mine.Own is not trusted; .* 'trust=\[mine\]'"):
        check_targets("sampler", node, trusted=[], typed=["hydra.verbose=true"])
    check_targets("sampler", node, trusted=["mine"], typed=[])
    check_targets("sampler", node, trusted=[], typed=["hydra.sweeper.sampler={_target_: mine.Own}"])
    check_targets("sampler", "tpe", trusted=[], typed=[])


@pytest.mark.parametrize(
    ("sampler", "objectives", "message"),
    [
        ("tpa", 1, "sampler=tpa; expected one of tpe, random, gp, .*; did you mean 'tpe'"),
        ("cmaes", 2, "sampler=cmaes with 2 objectives; expected tpe, gp or nsgaii"),
        ({"_target_": "optuna.pruners.NopPruner"}, 1, "expected a BaseSampler of optuna"),
    ],
)
def test_samplers_that_cannot_be_used_are_refused(
    sampler, objectives, message, monkeypatch
) -> None:
    monkeypatch.setattr(methods, "find_spec", lambda name: name)
    with pytest.raises(InputError, match=message):
        methods.sampler_maker(Settings(sampler=sampler), objectives=objectives, batch=1)


def test_cmaes_says_what_it_needs(monkeypatch) -> None:
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="sampler=cmaes needs the package cmaes; pip install cmae"):
        methods.sampler_maker(Settings(sampler="cmaes"), objectives=1, batch=1)


def test_pruners_have_names_or_targets() -> None:
    target = {"_target_": "optuna.pruners.PercentilePruner", "percentile": 25.0}
    kinds = [type(methods.make_pruner(Settings(pruner=p))) for p in (None, "median", target)]
    names = [kind.__name__ for kind in kinds]
    assert names == ["NopPruner", "MedianPruner", "PercentilePruner"]
    with pytest.raises(InputError, match=r"pruner=mean; expected null, median, .*mean 'median'"):
        methods.make_pruner(Settings(pruner="mean"))


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_the_seed_decides_and_a_resumed_search_proposes_the_same(tmp_path, sampler) -> None:
    whole = run(search(tmp_path, trials=11, sampler=sampler))
    run(search(tmp_path, trials=5, sampler=sampler, file="parts.db"))
    assert run(search(tmp_path, trials=11, sampler=sampler, file="parts.db")) == whole
    assert len({values["x"] for values in whole}) == 11
    other = run(search(tmp_path, trials=1, sampler=sampler, file="other.db", seed=1))
    assert other[0] not in whole


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii", "gp"])
def test_every_sampler_of_a_name_can_be_built(sampler) -> None:
    make = methods.sampler_maker(Settings(sampler=sampler, seed=None), objectives=2, batch=2)
    assert isinstance(make(0), optuna.samplers.BaseSampler)


def test_a_sampler_of_a_target_is_built_once_with_its_own_seed() -> None:
    target = {"_target_": "optuna.samplers.RandomSampler", "seed": 3}
    make = methods.sampler_maker(Settings(sampler=target), objectives=1, batch=1)
    assert isinstance(make(0), optuna.samplers.RandomSampler)
    assert make(0) is make(7)


def test_neighboring_seeds_have_nothing_in_common() -> None:
    seeds = [methods._seed(seed, trials) for seed in range(9) for trials in range(9)]
    assert len(set(seeds)) == 81
    assert all(seed is not None and 0 <= seed < 2**32 for seed in seeds)
    assert methods._seed(None, 3) is None


def test_a_study_lies_in_the_sweep_or_where_its_name_finds_it(tmp_path) -> None:
    def place(name: str | None, storage: str | None) -> tuple[str, str, Path | None]:
        found = place_of(name, storage, sweep_dir="outputs/3-sweep", root=tmp_path)
        return found.name, found.storage, found.file

    own = tmp_path / "outputs" / "3-sweep" / "study.db"
    shared = tmp_path / "outputs" / "studies.db"
    assert place(None, None) == ("3-sweep", f"sqlite:///{own}", own)
    assert place("mine", None) == ("mine", "sqlite:///outputs/studies.db", shared)
    assert place("mine", "journal:/a/b") == ("mine", "journal:/a/b", Path("/a/b"))
    assert place("mine", "postgresql://host/db") == ("mine", "postgresql://host/db", None)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("study.db", "storage=study.db; expected sqlite:///FILE, journal:FILE, or the address"),
        ("sqlite://", "storage=sqlite:// names no file; expected sqlite:///FILE"),
        ("journal:", "storage=journal: names no file; expected"),
        ("sqlite:///text", "storage=sqlite:///text cannot be used: .*file is not a database"),
        ("journal:text", "storage=journal:text cannot be used: Expecting value"),
        ("no+no://me:word@host/db", r"no\+no://me:\*\*\*@host/db cannot be used: Can't load plug"),
    ],
)
def test_storages_that_cannot_be_used_are_refused(tmp_path, storage, message) -> None:
    (tmp_path / "text").write_text("This is no study.\n")
    space = read_space({}, ["x=interval(0,1)"])
    with pytest.raises(InputError, match=message):
        open_study(Place("study", storage, tmp_path), objectives={"a": "minimize"}, space=space)


@pytest.mark.parametrize(
    ("lines", "objectives", "message"),
    [
        (
            ["x=0.1,0.2"],
            {"a": "minimize"},
            "has another space: {'x': 'float'}; expected {'x': '0.1",
        ),
        (["x=interval(0,1)", "n=1,2"], {"a": "minimize"}, "has another space"),
        (["x=tag(log,interval(1,2))"], {"a": "minimize"}, "has another space"),
        (
            ["x=interval(0,1)"],
            {"a": "maximize"},
            r"has another objective: \[\['a', 'minimize'\]\]; .* another hydra.sweeper.study_name",
        ),
        (["x=interval(0,1)"], {"b": "minimize"}, "has another objective"),
    ],
)
def test_a_study_of_something_else_is_not_gone_on_with(
    tmp_path, lines, objectives, message
) -> None:
    place = Place("study", "sqlite:///study.db", tmp_path)
    space = read_space({}, ["x=interval(0,1)"])
    open_study(place, objectives={"a": "minimize"}, space=space)
    open_study(place, objectives={"a": "minimize"}, space=read_space({}, ["x=interval(0,9)"]))
    with pytest.raises(InputError, match=message):
        open_study(place, objectives=objectives, space=read_space({}, lines))


def test_a_study_that_others_made_is_not_gone_on_with(tmp_path) -> None:
    place = Place("own", "sqlite:///own.db", tmp_path)
    others = optuna.create_study(study_name="own", storage=place.connect())
    others.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(InputError, match=r"study 'own' in sqlite:///own.db has another objective"):
        open_study(place, objectives={"a": "minimize"}, space=read_space({}, ["x=1,2"]))


def test_processes_that_start_together_share_the_trials(tmp_path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from test_optuna_study import run, search; run(search(Path(sys.argv[2]), trials=8))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]

    found = search(tmp_path, trials=8).study.trials
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 8
    assert len({trial.params["x"] for trial in found}) == 8


def test_what_was_taken_over_is_not_told_twice(tmp_path, caplog) -> None:
    one = search(tmp_path, trials=3)
    (trial,) = one.ask()
    search(tmp_path, trials=3).release(take_over=True)
    one.tell(trial, {"loss": 0.0})
    assert "trial 0 was taken over by another process" in caplog.text
    assert [found.state.name for found in one.study.trials] == ["FAIL", "WAITING"]


def test_a_trial_is_gone_with_its_process(tmp_path) -> None:
    one = search(tmp_path, trials=9)
    marks = {
        "another boot": {"boot_id": "another"},
        "this process": {},  # what it ran before, it runs no more
        "alive": {"pid": "1"},
        "elsewhere": {"host": "another"},
    }
    for mark in marks.values():
        (trial,) = one.ask()
        trial.set_user_attr("process", {**this_process(), **mark})
    one.study.ask()  # by somebody who leaves no mark
    one.release(take_over=False)
    states = [trial.state.name for trial in one.study.trials[:5]]
    assert states == ["FAIL", "FAIL", "RUNNING", "RUNNING", "RUNNING"]


def test_outside_a_search_a_tracker_stays_what_it_is() -> None:
    tracker = NullTracker()
    assert reporting(tracker) is tracker


def test_the_yaml_shows_every_setting_with_its_default() -> None:
    shown = OmegaConf.to_container(OmegaConf.load(YAML))
    assert isinstance(shown, dict)
    assert {k: v for k, v in shown.items() if not str(k).startswith("_")} == vars(Settings())
    assert "python main.py" in "".join(YAML.read_text().splitlines()[:2])


def test_nothing_of_optuna_is_imported_at_start_up(tmp_path) -> None:
    script = (
        "import sys; from hydra.core.plugins import Plugins; from hydra.plugins.sweeper import "
        "Sweeper; print([c.__name__ for c in Plugins.instance().discover(Sweeper)]); "
        "print([n for n in ('optuna', 'sqlalchemy', 'rich', 'filelock') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    first, second = done.stdout.splitlines()
    assert "OptunaSweeper" in first
    assert second == "[]"
