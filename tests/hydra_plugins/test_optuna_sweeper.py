"""Whole searches: Hydra, a launcher, a study in a file, and a task that is a parabola."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from hydra_plugins.irdream._optuna_pruning import JobPrunedError, reporting
from hydra_plugins.irdream._optuna_storage import Place
from irdream.errors import InputError
from irdream.processes import this_process
from irdream.sweeps.job import Job
from irdream.tracking.base import NullTracker

optuna = pytest.importorskip("optuna", minversion="4")

YAML = Path(__file__).parents[2] / "conf" / "hydra" / "sweeper" / "optuna.yaml"
CONFIG = "defaults: [_self_, {shape: round}]\nx: 0.0\nn: 1\ntrust: []\n"
LOSS = "hydra.sweeper.objectives={loss: minimize}"
STORED = "hydra.sweeper.storage=sqlite:///deep/down/study.db"
SCRIPT = """
import pathlib, time, hydra

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(config):
    pathlib.Path("started").touch()
    time.sleep(60)

run()
"""
Sweep = Callable[..., Any]


def parabola(config: DictConfig) -> dict[str, float]:
    return {"loss": (config.x - 0.3) ** 2 + config.n, "size": -float(config.n)}


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sweep]:
    """Run a task as `python app.py -m hydra/sweeper=optuna ...` does, and return what it found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "shape").mkdir(parents=True)
    (tmp_path / "conf" / "hydra" / "sweeper").mkdir(parents=True)
    shutil.copy(YAML, tmp_path / "conf" / "hydra" / "sweeper")
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
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
    place = Place(name, storage, Path.cwd())
    with place.lock():
        return optuna.load_study(study_name=name, storage=place.connect())


def trials(*where: str) -> list[Any]:
    return study(*where).trials


def states(*where: str) -> list[str]:
    return [trial.state.name for trial in trials(*where)]


def test_a_search_finds_the_least_and_says_how_to_run_it_again(sweep, tmp_path, capsys) -> None:
    seen = []

    def task(config: DictConfig) -> dict[str, float]:
        seen.append((config.x, config.n))
        return parabola(config)

    found = sweep(
        task, "x=interval(0,1)", "n=range(1,4)", "shape=glob(*)", "+word='a b'", LOSS,
        "hydra.sweeper.trials=6",
    )  # fmt: skip

    assert len(seen) == len(set(seen)) == 6
    assert all(0 <= x <= 1 and n in (1, 2, 3) for x, n in seen)
    losses = [(x - 0.3) ** 2 + n for x, n in seen]
    (best,) = found["best"]
    assert best["values"] == {"loss": min(losses)}
    x, n = seen[losses.index(min(losses))]
    assert [best["overrides"][i] for i in (0, 1, 3)] == [f"x={x}", f"n={n}", "+word='a b'"]
    assert best["searched"] == best["overrides"][:3]
    assert Path(best["folder"]) == tmp_path / "out" / str(best["trial"])
    assert (tmp_path / "out" / str(best["trial"]) / ".hydra" / "config.yaml").is_file()
    assert found["trials"] == {"complete": 6}
    assert yaml.safe_load((tmp_path / "out" / "optimization_results.yaml").read_text()) == found
    shown = capsys.readouterr().out
    assert f"again: {best['command']}\n" in shown
    assert best["command"].endswith(""" '+word='"'"'a b'"'"''""")


def test_a_killed_search_is_taken_up_where_it_was(sweep, tmp_path) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    stored = ["x=interval(0,1)", LOSS, STORED, "hydra.sweeper.study_name=mine"]
    sweep(parabola, *stored, "hydra.sweeper.trials=2")
    words = [*stored, "hydra.sweeper.trials=4"]
    command = [sys.executable, "app.py", "-m", "hydra/sweeper=optuna"]
    process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)
    while not Path("started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    where = ("mine", "sqlite:///deep/down/study.db")
    assert states(*where) == ["COMPLETE", "COMPLETE", "RUNNING"]

    found = sweep(parabola, *words)

    assert states(*where) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert found["trials"] == {"complete": 4, "interrupted": 1}
    all_trials = trials(*where)
    assert all_trials[3].params == all_trials[2].params
    assert len({trial.params["x"] for trial in all_trials}) == 4
    again = sweep(lambda config: pytest.fail("nothing is left to run"), *words)
    assert again["best"] == found["best"]


def test_an_interrupt_leaves_nothing_running(sweep) -> None:
    def task(config: DictConfig) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(task, "x=interval(0,1)", LOSS)

    assert states() == ["FAIL", "WAITING"]


def test_only_trials_whose_process_is_gone_are_run_again(sweep, capsys) -> None:
    words = ["x=interval(0,1)", LOSS, "hydra.sweeper.trials=3"]
    sweep(parabola, *words[:-1], "hydra.sweeper.trials=1")
    running = study().ask()
    running.set_user_attr("process", {**this_process(), "host": "another"})

    sweep(parabola, *words)
    assert states() == ["COMPLETE", "RUNNING", "COMPLETE"]
    assert "trials that others are running: 1" in capsys.readouterr().out
    sweep(parabola, *words, "hydra.sweeper.take_over=true")
    assert states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_several_objectives_give_what_no_other_beats(sweep, capsys) -> None:
    both = "hydra.sweeper.objectives={loss: minimize, size: minimize}"
    found = sweep(parabola, "x=interval(0,1)", "n=range(0,2)", both, "hydra.sweeper.trials=7")

    values = [trial.values for trial in trials()]
    beaten = [any(w != v and w[0] <= v[0] and w[1] <= v[1] for w in values) for v in values]
    front = [v for v, is_beaten in zip(values, beaten, strict=True) if not is_beaten]
    assert [list(one["values"].values()) for one in found["best"]] == front
    assert len(front) == 2  # the best of each n
    assert "and the overrides of a row" in capsys.readouterr().out


def test_what_was_tried_twice_is_shown_once(sweep) -> None:
    both = "hydra.sweeper.objectives={loss: minimize, size: maximize}"
    found = sweep(parabola, "x=choice(0.5)", both, "hydra.sweeper.trials=2")
    assert [best["trial"] for best in found["best"]] == [0]


def test_a_job_that_fails_is_told_and_the_search_goes_on(sweep, tmp_path) -> None:
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

    found = sweep(task, "x=interval(0,1)", LOSS, "hydra.sweeper.trials=9")

    assert found["trials"] == {"complete": 2, "failed": 7}
    assert found["best"][0]["trial"] == 6
    assert [trial.user_attrs.get("reason") for trial in trials()] == [
        None,
        "ZeroDivisionError: by what",
        "loss is nan",
        "the job returned no metrics",
        "no metric 'loss'; did you mean 'lost'?",
        "dream.octaves=-1; expected at least 1",
        None,
        "error: no such checkpoint",
        "loss is ?",
    ]


def test_when_nothing_succeeds_the_first_reason_is_told(sweep) -> None:
    with pytest.raises(InputError, match="no trial of study 'out' succeeded; first: the job ret"):
        sweep(lambda config: {}, "x=interval(0,1)", LOSS, "hydra.sweeper.trials=2")


def test_settings_are_checked_and_only_optuna_is_called(sweep, tmp_path) -> None:
    with pytest.raises(InputError, match=r"hydra.sweeper.trials='many'; expected a whole number"):
        sweep(parabola, "x=interval(0,1)", LOSS, "hydra.sweeper.trials=many")
    text = YAML.read_text().replace("sampler: tpe", "sampler: {_target_: mine.Own}")
    (tmp_path / "conf" / "hydra" / "sweeper" / "optuna.yaml").write_text(text)
    with pytest.raises(InputError, match=r"sampler: mine.Own is not trusted; .*trust=\[mine\]"):
        sweep(parabola, "x=interval(0,1)", LOSS)


def test_a_metric_that_no_job_has_ends_the_search(sweep) -> None:
    with pytest.raises(InputError, match=r"no job returned 'los'; did you mean 'loss'\?; expected"):
        sweep(
            parabola, "x=interval(0,1)", "hydra.sweeper.objectives={size: minimize,los: minimize}"
        )
    assert states() == ["FAIL"] * 3


def test_a_typo_in_any_choice_is_found_before_the_first_job(sweep, tmp_path) -> None:
    with pytest.raises(Exception, match="Could not find 'shape/squar'"):
        sweep(parabola, "shape=round,squar", LOSS)
    assert not (tmp_path / "out").exists()


def test_with_info_one_job_says_what_it_would_do_and_no_study_is_opened(sweep, tmp_path) -> None:
    seen = []
    assert (
        sweep(lambda config: seen.append(config.x), "x=interval(1,2)", "+info=true", STORED) == {}
    )
    assert seen == [1.0]
    assert not (tmp_path / "deep").exists()


def test_a_named_study_is_found_by_its_name_and_other_fixed_values_are_remarked_on(
    sweep, capsys
) -> None:
    words = [LOSS, "hydra.sweeper.study_name=mine"]
    sweep(parabola, "x=interval(0,1)", "n=2", *words, "hydra.sweeper.trials=1")
    words = [*words, "hydra.sweep.dir=elsewhere"]
    sweep(parabola, "x=interval(0,5)", *words, "hydra.sweeper.trials=2")
    assert "study mine began with n=2; do its values compare?" in capsys.readouterr().out
    assert states("mine", "sqlite:///outputs/studies.db") == ["COMPLETE"] * 2


def test_without_optuna_a_line_says_what_to_install(sweep, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna.storages.journal", None)
    with pytest.raises(InputError, match=r"needs the package optuna, 4 .*'irdream\[optuna\]'"):
        sweep(parabola, "x=interval(0,1)", LOSS)


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
        task, "x=interval(0,1)", LOSS, "hydra.job.chdir=true", "hydra.sweeper.trials=5",
        "hydra.sweeper.pruner={_target_: optuna.pruners.ThresholdPruner, upper: 0.5}",
        f"hydra.sweeper.storage='{storage}'",
    )  # fmt: skip

    found = {trial.params["x"] > 0.5: trial.state.name for trial in trials("out", storage)}
    assert found == {True: "PRUNED", False: "COMPLETE"}
    assert stops
    assert all(re.fullmatch(r"loss 0\.\d+ at step 2", stop) for stop in stops)


def test_joblib_runs_a_batch_at_once_and_a_worker_that_dies_costs_its_batch_alone(sweep) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")

    def task(config: DictConfig) -> dict[str, float]:
        import os

        from hydra.core.hydra_config import HydraConfig

        if HydraConfig.get().job.num in (2, 6):
            os._exit(9)
        return {"loss": config.x + config.n}

    words = ["x=interval(0,1)", LOSS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    found = sweep(task, *words, "hydra.sweeper.trials=6")

    assert found["trials"] == {"complete": 4, "failed": 2}
    assert states() == ["COMPLETE", "COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert "TerminatedWorkerError" in trials()[3].user_attrs["reason"]
    assert trials()[1].datetime_start < trials()[0].datetime_complete
    with pytest.raises(Exception, match="terminated"):  # no batch before it: something is wrong
        sweep(task, *words, "hydra.sweeper.trials=8")
