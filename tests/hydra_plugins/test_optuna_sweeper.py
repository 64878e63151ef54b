"""Whole searches: Hydra, a launcher, a study in a file, and a task that is a parabola."""

import contextlib
import logging
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.irdream._pruning import JobPrunedError, reporting
from hydra_plugins.irdream.optuna_sweeper import OptunaSweeper, Place, read_space
from irdream.errors import InputError
from irdream.sweeps.job import Job
from irdream.tracking import NullTracker

optuna = pytest.importorskip("optuna", minversion="4.9")
CategoricalDistribution = optuna.distributions.CategoricalDistribution
FloatDistribution = optuna.distributions.FloatDistribution
IntDistribution = optuna.distributions.IntDistribution

SWEEPER = Path(__file__).parents[2] / "conf" / "hydra" / "sweeper"
KEYS: dict[str, Any] = {
    "n_trials": 1, "n_jobs": 1, "metric": None, "direction": None, "pruner": None, "params": {}
}  # fmt: skip
CONFIG = "defaults: [_self_, {shape: round}]\nx: 0.0\nn: 1\ntrust: []\n"
LOSS = ("hydra.sweeper.metric=loss", "hydra.sweeper.direction=minimize")
BOTH = ("hydra.sweeper.metric=[loss,size]", "hydra.sweeper.direction=[minimize,minimize]")
STORED = "hydra.sweeper.storage=sqlite:///deep/down/study.db"
SCRIPT = """
import pathlib, time, hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(config):
    pathlib.Path("started").touch()
    time.sleep(60 if config.n == 1 else 0)
    return {"loss": config.x}

run()
"""
Sweep = Callable[..., Any]


class Options:
    """Stands for Hydra's loader: what a group has."""

    def get_group_options(self, group, results_filter=None) -> list[str]:
        assert group == "optimizer"
        return ["adam", "adamw", "sgd"]


def only(line: str) -> Any:
    """Return the distribution of the one key that is searched."""
    (distribution,) = read_space({}, [line], Options())[1].values()  # type: ignore[arg-type]
    return distribution


def parabola(config: DictConfig) -> dict[str, float]:
    return {"loss": (config.x - 0.3) ** 2 + config.n, "size": -float(config.n)}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """Run a task as `python app.py -m hydra/sweeper=optuna ...` does, and return what it found."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SWEEPER, tmp_path / "conf" / "hydra" / "sweeper")
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    (tmp_path / "conf" / "shape").mkdir()
    for shape in ("round.yaml", "square.yaml"):
        (tmp_path / "conf" / "shape" / shape).write_text("{}")
    root = logging.getLogger()
    kept = root.handlers[:], root.level

    def run(task: Callable[..., Any], *words: str) -> Any:
        words = ("hydra/sweeper=optuna", "hydra.sweep.dir=out", *words)
        with initialize_config_dir(config_dir=str(tmp_path / "conf"), version_base="1.3"):
            app = GlobalHydra.instance().hydra
            assert app is not None
            return app.multirun("config", task, list(words))

    yield run
    for handler in set(root.handlers) - set(kept[0]):
        handler.close()
    root.handlers[:], root.level = kept


def study(name: str = "out", storage: str = "sqlite:///out/study.db") -> Any:
    hydra = OmegaConf.create({"runtime": {"cwd": str(Path.cwd())}, "sweep": {"dir": "out"}})
    place = Place(hydra, name, storage)
    with place.held():
        return optuna.load_study(study_name=name, storage=place.connect())


def states(*where: str) -> list[str]:
    return [trial.state.name for trial in study(*where).trials]


def test_a_search_finds_the_least_and_says_how_to_run_it_again(sweep, tmp_path, capsys) -> None:
    seen = []

    def task(config: DictConfig) -> dict[str, float]:
        assert type(config.n) is int
        seen.append((config.x, config.n))
        return parabola(config)

    found = sweep(
        task, "x=interval(0,1)", "n=range(1,4)", "shape=glob(*)", "+word='a b'", *LOSS,
        "hydra.sweeper.n_trials=6",
    )  # fmt: skip

    assert len(seen) == len(set(seen)) == 6
    assert all(0 <= x <= 1 and n in (1, 2, 3) for x, n in seen)
    losses = [(x - 0.3) ** 2 + n for x, n in seen]
    (best,) = found["solutions"]
    assert best["values"] == {"loss": min(losses)}
    x, n = seen[losses.index(min(losses))]
    assert (best["params"]["x"], best["params"]["n"]) == (x, n)
    assert f" '+word='\"'\"'a b'\"'\"'' x={x} n={n} shape=" in best["command"]
    assert (tmp_path / "out" / str(best["trial"]) / ".hydra" / "config.yaml").is_file()
    assert found["trials"] == {"complete": 6}
    assert yaml.safe_load((tmp_path / "out" / "optimization_results.yaml").read_text()) == found
    assert f"best: trial {best['trial']}, loss {min(losses):.4g}: {best['command']}\n" in (
        capsys.readouterr().out
    )


def forget_heartbeats(path: str) -> None:
    """Let the trials that run count as those of a dead process."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'")
    database.close()


def test_a_killed_search_is_resumed_and_its_trial_run_again(sweep, tmp_path, capsys) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    stored = ["x=interval(0,1)", *LOSS, STORED, "hydra.sweeper.study_name=mine"]
    sweep(parabola, *stored, "hydra.sweeper.n_trials=2")
    words = [*stored, "hydra.sweeper.n_trials=4"]
    command = [sys.executable, "app.py", "-m", "hydra/sweeper=optuna"]
    process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)
    while not Path("started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    where = ("mine", "sqlite:///deep/down/study.db")
    assert states(*where) == ["COMPLETE", "COMPLETE", "RUNNING"]

    sweep(parabola, *words)  # its heartbeat is too young to tell
    assert states(*where) == ["COMPLETE", "COMPLETE", "RUNNING", "COMPLETE"]
    assert "trials that others run: 1; if these are gone, type the same" in capsys.readouterr().out
    forget_heartbeats("deep/down/study.db")
    found = sweep(parabola, *words)

    assert states(*where) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert found["trials"] == {"complete": 4}
    trials = study(*where).trials
    assert trials[4].params == trials[2].params
    assert len({trial.params["x"] for trial in trials}) == 4
    again = sweep(lambda config: pytest.fail("nothing is left to run"), *words)
    assert again["solutions"] == found["solutions"]


def test_an_interrupted_job_is_run_again(sweep) -> None:
    def task(config: DictConfig) -> dict[str, float]:
        raise KeyboardInterrupt

    words = ("x=interval(0,1)", *LOSS, "hydra.sweeper.n_trials=1")
    with pytest.raises(KeyboardInterrupt):
        sweep(task, *words)
    assert states() == ["FAIL", "WAITING"]
    sweep(parabola, *words)
    assert states() == ["FAIL", "COMPLETE"]
    assert len({trial.params["x"] for trial in study().trials}) == 1


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "random"])
def test_the_seed_decides_and_a_resumed_search_proposes_nothing_twice(sweep, sampler) -> None:
    def proposed(folder: str, trials: int, seed: int = 0) -> list[float]:
        sweep(
            parabola, "x=interval(0,1)", *LOSS, f"hydra.sweep.dir={folder}",
            f"hydra/sweeper/sampler={sampler}", f"hydra.sweeper.sampler.seed={seed}",
            f"hydra.sweeper.n_trials={trials}",
        )  # fmt: skip
        return [trial.params["x"] for trial in study(folder, f"sqlite:///{folder}/study.db").trials]

    first = proposed("a", 3)
    assert proposed("b", 3) == first
    assert proposed("c", 3, seed=1) != first
    assert proposed("a", 6)[:3] == first
    assert len(set(proposed("a", 6))) == 6


def test_several_metrics_give_what_no_other_beats(sweep) -> None:
    found = sweep(parabola, "x=interval(0,1)", "n=range(0,2)", *BOTH, "hydra.sweeper.n_trials=7")

    values = [trial.values for trial in study().trials]
    beaten = [any(w != v and w[0] <= v[0] and w[1] <= v[1] for w in values) for v in values]
    front = [v for v, is_beaten in zip(values, beaten, strict=True) if not is_beaten]
    assert [list(one["values"].values()) for one in found["solutions"]] == front
    assert len(front) == 2  # the best of each n
    same = sweep(parabola, "x=choice(0.5)", *BOTH, "hydra.sweeper.n_trials=2", "hydra.sweep.dir=b")
    assert [best["trial"] for best in same["solutions"]] == [0]


def test_a_job_that_fails_is_told_and_the_search_goes_on(sweep) -> None:
    returned: list[Any] = [
        {"loss": 1.0}, ZeroDivisionError("by what"), {"loss": float("nan")}, {}, {"lost": 1.0},
        InputError("dream.octaves=-1; expected at least 1"), {"loss": 0.5}, {}, {"loss": "?"},
    ]  # fmt: skip

    def task(config: DictConfig) -> dict[str, float]:
        number = len(list(Path("out").glob("*/.hydra"))) - 1
        value = returned[number]
        if number == 7:
            Job([], "", 7, sweep_folder="out", error="error: no such checkpoint").write()
        if isinstance(value, Exception):
            raise value
        return value

    found = sweep(task, "x=interval(0,1)", *LOSS, "hydra.sweeper.n_trials=9")

    assert found["trials"] == {"complete": 2, "fail": 7}
    assert found["solutions"][0]["trial"] == 6
    assert [trial.user_attrs.get("reason") for trial in study().trials] == [
        None,
        "ZeroDivisionError: by what",
        "loss is nan",
        "the job returned no metrics",
        "no metric 'loss'; did you mean 'lost'?; there are lost",
        "dream.octaves=-1; expected at least 1",
        None,
        "error: no such checkpoint",
        "loss is ?",
    ]


@pytest.mark.parametrize(
    ("words", "message", "jobs"),
    [
        pytest.param(
            ("hydra.sweeper.metric=los", LOSS[1]),
            "3 jobs failed; first: no metric 'los'; did you mean 'loss'?; there are "
            "loss, size; correct it",
            3,
            id="metric that no job has",
        ),
        pytest.param(
            (*LOSS, "+fails=true", "hydra.sweeper.max_failure_rate=0.4", "hydra.sweeper.n_jobs=2"),
            "2 jobs failed; first: the job returned no metrics; correct it, or see "
            "hydra.sweeper.max_failure_rate",
            2,
            id="more failures than may be",
        ),
        pytest.param(
            (*LOSS, "+fails=true", "hydra.sweeper.n_trials=2"),
            "no trial of study 'out' succeeded; first: the job returned no metrics",
            2,
            id="no success",
        ),
    ],
)
def test_a_search_in_vain_ends_in_one_line(sweep, words, message, jobs) -> None:
    def task(config: DictConfig) -> dict[str, float]:
        return {} if config.get("fails") else parabola(config)

    with pytest.raises(InputError, match=re.escape(message)):
        sweep(task, "x=interval(0,1)", *words)
    assert states() == ["FAIL"] * jobs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("metric=null", "metric=None and direction=minimize with task=None; expected a metric of"),
        ("direction=null", "metric=loss and direction=None with task=None; expected a metric"),
        ("direction=[minimize,maximize]", "direction=['minimize', 'maximize'] with task=None;"),
        ("direction=least", "direction=least with task=None; expected a metric of the task"),
        ("pruner={a: b},metric=[a,b],direction=[minimize,minimize]", "one alone with a pruner"),
        ("sampler=random", "sampler=random; expected hydra/sweeper/sampler=random"),
        ("storage=study.db", "study out in study.db cannot be used: .*expected hydra.sweeper.stor"),
        ("storage=journal:", "study out in journal: cannot be used: "),
        ("storage=sqlite:///:memory:", "study out in sqlite:///:memory: cannot be used: "),
        ("storage=sqlite:///text", "out in sqlite:///text cannot be used: .*not a database"),
        ("storage=journal:text", "out in journal:text cannot be used: .*Expecting value"),
        ("storage=no+no://me:word@host/db", "out in no.no://host/db cannot be used: .*no.no"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(sweep, words, message) -> None:
    Path("text").write_text("This is no study.\n")
    own = [f"hydra.sweeper.{word}" for word in re.split(r",(?=[a-z]+=)", words)]
    message = re.escape(message).replace(r"\.\*", ".*").replace(r"no\.no", "no.no")
    with pytest.raises(InputError, match=message):
        sweep(parabola, "x=interval(0,1)", *LOSS, *own)


@pytest.mark.parametrize("wrong", [{"n_trials": 0}, {"n_trials": "many"}, {"n_jobs": 0}])
def test_numbers_are_whole_and_above_0(wrong) -> None:
    ((key, value),) = wrong.items()
    expected = f"hydra.sweeper.{key}={value!r}; expected a whole number, at least 1"
    with pytest.raises(InputError, match=f"^{expected}$"):
        OptunaSweeper(**{**KEYS, **wrong})
    assert OptunaSweeper(**{**KEYS, "n_jobs": -1}).keys.n_jobs >= 1  # as joblib has it


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("dream", {"dream/wav_at_0.9": "maximize"}),
        ("train", {"val/loss": "minimize"}),
        ("evaluate", {"eval/micro_f1": "maximize"}),
    ],
)
def test_the_task_decides_on_the_metric_unless_one_is_set(task, expected) -> None:
    sweeper = OptunaSweeper(**KEYS)
    sweeper.cfg = OmegaConf.create({"hydra": {"runtime": {"choices": {"task": task}}}})
    assert sweeper._objectives() == expected
    sweeper.keys.metric = ["dream/rmse_db", "dream/snr_db"]
    both = {"dream/rmse_db": "minimize", "dream/snr_db": "maximize"}
    assert sweeper._objectives() == both
    sweeper.keys.metric, sweeper.keys.direction = "a", "minimize"
    assert sweeper._objectives() == {"a": "minimize"}


def test_a_named_study_is_found_by_its_name_and_must_be_of_the_same_search(sweep, capsys) -> None:
    words = [*LOSS, "hydra.sweeper.study_name=mine"]
    sweep(parabola, "x=interval(0,1)", "n=2", *words, "hydra.sweeper.n_trials=1")
    words = [*words, "hydra.sweep.dir=elsewhere"]
    sweep(parabola, "x=interval(0,5)", *words, "hydra.sweeper.n_trials=2")
    assert "study mine began with n=2; do its values compare?" in capsys.readouterr().out
    assert states("mine", "sqlite:///outputs/studies.db") == ["COMPLETE"] * 2
    place = r"study mine in sqlite:///outputs/studies\.db"
    for other in ("x=1,2", "x=interval(0,1) n=1,2", "x=tag(log,interval(1,2))"):
        with pytest.raises(InputError, match=f"{place} has another space: .*, or another hydra"):
            sweep(parabola, *other.split(), *words)
    with pytest.raises(InputError, match=f"{place} has another objective: .*minimize.*; expected"):
        sweep(parabola, "x=interval(0,1)", *words, "hydra.sweeper.direction=maximize")


def test_processes_that_start_together_share_the_trials(sweep, tmp_path) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    command = [sys.executable, "app.py", "-m", "hydra/sweeper=optuna", "x=interval(0,1)", "n=0"]
    more = ["hydra.sweeper.n_trials=8", "hydra.sweeper.study_name=mine", *LOSS]
    processes = [
        subprocess.Popen([*command, *more, f"hydra.sweep.dir=out{i}"], stdout=subprocess.DEVNULL)
        for i in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]

    where = ("mine", "sqlite:///outputs/studies.db")
    assert states(*where) == ["COMPLETE"] * 8
    assert len({trial.params["x"] for trial in study(*where).trials}) == 8


def test_with_info_one_job_says_what_it_would_do_and_no_study_is_opened(sweep, tmp_path) -> None:
    seen = []
    words = ("x=interval(1,2)", "+info=true", STORED, *LOSS)
    assert sweep(lambda config: seen.append(config.x), *words) == {}
    assert len(seen) == 1
    assert 1 <= seen[0] <= 2
    assert not (tmp_path / "deep").exists()


def test_without_optuna_a_line_says_what_to_install(sweep, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna.storages", None)
    with pytest.raises(InputError, match=r"needs the package optuna, 4.9 .*'irdream\[optuna\]'"):
        sweep(parabola, "x=interval(0,1)", *LOSS)


@pytest.mark.parametrize("storage", ["sqlite:///s.db", "journal:deep/s.journal"])
def test_a_job_that_reports_is_stopped_by_the_pruner(sweep, storage) -> None:
    stops = []

    def task(config: DictConfig) -> dict[str, float]:
        tracker = reporting(NullTracker())
        tracker.set_tags({"is": "the tracker's"})
        tracker.log_metrics({"loss": 9.0})
        tracker.log_metrics({"other": 9.0}, step=1)
        try:
            tracker.log_metrics({"loss": config.x}, step=2)
        except JobPrunedError as stop:
            stops.append(str(stop))
            return {}
        return {"loss": config.x}

    sweep(
        task, "x=interval(0,1)", *LOSS, "hydra.job.chdir=true", "hydra.sweeper.n_trials=5",
        "hydra.sweeper.pruner={_target_: optuna.pruners.ThresholdPruner, upper: 0.5}",
        f"hydra.sweeper.storage='{storage}'",
    )  # fmt: skip

    found = {t.params["x"] > 0.5: t.state.name for t in study("out", storage).trials}
    assert found == {True: "PRUNED", False: "COMPLETE"}
    assert stops
    assert all(re.fullmatch(r"loss 0\.\d+ at step 2", stop) for stop in stops)
    tracker = NullTracker()
    assert reporting(tracker) is tracker  # outside a search


def test_joblib_runs_a_batch_at_once_and_a_worker_that_dies_costs_its_batch_alone(sweep) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")

    def task(config: DictConfig) -> dict[str, float]:
        import os

        from hydra.core.hydra_config import HydraConfig

        if HydraConfig.get().job.num == 2:
            os._exit(9)
        return {"loss": config.x + config.n}

    words = ["x=interval(0,1)", *LOSS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    found = sweep(task, *words, "hydra.sweeper.n_trials=6")

    assert found["trials"] == {"complete": 4, "fail": 2}
    assert states() == ["COMPLETE", "COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    trials = study().trials
    assert "TerminatedWorkerError" in trials[3].user_attrs["reason"]
    assert trials[1].datetime_start < trials[0].datetime_complete


# What is searched -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("k=a,b,c", CategoricalDistribution(("a", "b", "c"))),
        ("k=1,2.5,null,true", CategoricalDistribution(("1", "2.5", "null", "True"))),
        ("k=shuffle(c,a,b)", CategoricalDistribution(("c", "a", "b"))),
        ("k=sort(c,a,b)", CategoricalDistribution(("a", "b", "c"))),
        ("k=a,b,a", CategoricalDistribution(("a", "b"))),
        ("k=[flute,cello],sax", CategoricalDistribution(("[flute,cello]", "sax"))),
        ("k='a b',c", CategoricalDistribution(("'a b'", "c"))),
        ("optimizer=glob(adam*)", CategoricalDistribution(("adam", "adamw"))),
        ("optimizer=glob(*,exclude=adam*)", CategoricalDistribution(("sgd",))),
        ("k=interval(0.05,2)", FloatDistribution(0.05, 2.0)),
        ("k=interval(1,3)", FloatDistribution(1.0, 3.0)),
        ("k=int(interval(1,8))", IntDistribution(1, 8)),
        ("k=tag(log, interval(0.01,1))", FloatDistribution(0.01, 1.0, log=True)),
        ("k=tag(log, int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("k=range(4)", IntDistribution(0, 3)),
        ("k=range(1,10,4)", IntDistribution(1, 9, step=4)),
        ("k=range(5,1,-2)", IntDistribution(3, 5, step=2)),
        ("k=tag(log, range(1,65))", IntDistribution(1, 64, log=True)),
        ("k=range(0,1,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("k=range(0,0.3,0.1)", FloatDistribution(0.0, 0.2, step=0.1)),
        ("k=range(1.5,0,-0.5)", FloatDistribution(0.5, 1.5, step=0.5)),
        ("k=float(range(1,4))", FloatDistribution(1.0, 3.0, step=1.0)),
    ],
)
def test_what_is_typed_is_what_optuna_searches(line, expected) -> None:
    assert only(line) == expected


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_a_range_has_the_values_that_hydra_gives_it(start, stop, step) -> None:
    line = f"k=range({start},{stop},{step})"
    values = sorted(OverridesParser.create().parse_override(line).value().range())  # type: ignore[union-attr]
    if not values:
        with pytest.raises(InputError, match="expected at least one number"):
            only(line)
        return
    found = only(line)
    assert list(range(found.low, found.high + 1, found.step)) == values


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("k=interval(2,0.05)", r"^k=interval\(2,0.05\) cannot be searched: .*low.* <= .*high"),
        ("k=interval(0,inf)", r"k=interval\(0,inf\) cannot be searched: expected finite numbers"),
        ("k=interval(nan,1)", "expected finite numbers"),
        ("k=tag(log,interval(0,1))", "cannot be searched: .*log"),
        ("k=tag(log,range(1,9,2))", "cannot be searched: .*log"),
        ("k=tag(log,range(1,2,0.5))", "cannot be searched: .*log"),
        ("k=range(4,1)", "expected at least one number, the end being left out"),
        ("k=range(1,4,0)", "expected finite numbers and a step other than 0"),
        ("k=range(1,inf)", "expected finite numbers and a step other than 0"),
        ("k=tag(ln,interval(1,2))", "expected no tag but log, and that on numbers"),
        ("k=tag(log,choice(1,2))", "expected no tag but log"),
        ("optimizer=glob(x*)", "cannot be searched: .*one or more"),
        ("k=1", r"nothing to search; expected at least one key=interval\(a,b\)"),
    ],
)
def test_what_cannot_be_searched_is_refused(line, message) -> None:
    with pytest.raises(InputError, match=message):
        only(line)


def test_the_command_line_wins_over_the_yaml_and_a_grid_is_typed_in_round_numbers() -> None:
    params = {"a": "interval(0,1)", "b": "1,2", "c": None, "d": [1, 2]}
    sweeper = OptunaSweeper(**KEYS)
    typed = ["task=dream", "b=7", "+e=x,y", "~f", "g=range(0,1,0.1)", "h=range(1,4)"]
    sweeper.fixed, sweeper.space = read_space(params, typed)
    assert sweeper.fixed == ["b=7", "c=null", "d=[1, 2]", "task=dream", "~f"]

    trial: Any = SimpleNamespace(params={"a": 0.1 + 0.2, "+e": "y", "g": 0.1 + 0.2, "h": 2})
    own = ["a=0.30000000000000004", "+e=y", "g=0.3", "h=2"]
    assert sweeper._overrides(trial) == [*sweeper.fixed, *own]


def test_nothing_of_optuna_is_imported_at_start_up() -> None:
    script = (
        "import sys; from hydra.core.plugins import Plugins; from hydra.plugins.sweeper import "
        "Sweeper; print([c.__name__ for c in Plugins.instance().discover(Sweeper)]); "
        "print([n for n in ('optuna', 'sqlalchemy', 'rich', 'filelock') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    first, second = done.stdout.splitlines()
    assert "OptunaSweeper" in first
    assert second == "[]"
