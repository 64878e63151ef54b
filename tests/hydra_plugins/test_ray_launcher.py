"""The launcher for Ray, on a Ray of a few lines; tests/cluster/test_ray.py has the real one."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from hydra_plugins.irdream import _ray_cluster, _ray_job, _ray_queue
from hydra_plugins.irdream._ray_settings import Settings
from irdream import sweep as irdream_sweep
from irdream.errors import InputError
from irdream.job import Job, read_jobs

YAML = Path(__file__).parents[2] / "conf" / "hydra" / "launcher" / "ray.yaml"
SCRIPT = """
import functools

def around(function):
    @functools.wraps(function)
    def wrapped():
        raise AssertionError("Hydra's part")
    return wrapped

@around
def run(config):
    return {"square": config.x**2}
"""
Sweep = Callable[..., Any]


class RayError(Exception):
    pass


class WorkerCrashedError(RayError):
    pass


class FakeRay:
    """Runs a task when its result is waited for, in this process, the last one first."""

    def __init__(self) -> None:
        self.is_up, self.dies = False, set[str]()
        self.began: dict[str, Any] = {}
        self.options: list[dict[str, Any]] = []
        self.tasks: dict[object, tuple[str, Any, Any]] = {}
        self.cancelled: list[str] = []
        self.most = 0
        self.resources = {"CPU": 2.0}
        self.exceptions = SimpleNamespace(RayError=RayError)

    def is_initialized(self) -> bool:
        return self.is_up

    def init(self, **words: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)
        if "num_cpu" in words:
            raise RuntimeError("Unknown keyword argument(s): num_cpu\nat length")
        self.is_up, self.began = True, words

    def shutdown(self) -> None:
        self.is_up = False

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": False, "Resources": {"GPU": 8}},
            {"Alive": True, "Resources": self.resources},
        ]

    def remote(self, function: Callable[..., Any]) -> Any:
        def options(**words: Any) -> Any:
            self.options.append(words)
            return SimpleNamespace(remote=lambda *own: self.submit(words["name"], function, own))

        return SimpleNamespace(options=options)

    def submit(self, name: str, function: Callable[..., Any], own: tuple[Any, ...]) -> object:
        reference = object()
        self.tasks[reference] = name, function, own
        return reference

    def wait(self, references: list[Any], **how: Any) -> tuple[list[Any], list[Any]]:
        self.most = max(self.most, len(references))
        return references[-1:], references[:-1]

    def get(self, reference: Any) -> bytes:
        name, function, own = self.tasks[reference]
        if name in self.dies:
            raise WorkerCrashedError("The worker died.\nat length")
        state, folder, path = Singleton.get_state(), os.getcwd(), sys.path[:]
        try:
            return function(*own)
        finally:
            Singleton.set_state(state)
            os.chdir(folder)
            sys.path[:] = path

    def cancel(self, reference: Any) -> None:
        self.cancelled.append(self.tasks[reference][0])


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    for name in (*_ray_cluster.ENVIRONMENT, "RAY_COLOR_PREFIX"):
        monkeypatch.setenv(name, "set by the person")
    fake: Any = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.exceptions", fake.exceptions)
    monkeypatch.setattr(_ray_queue, "OUTPUT_SECONDS", 0)
    return fake


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray: FakeRay) -> Iterator[Sweep]:
    """Launch jobs as `python app.py -m hydra/launcher=ray ...` does, and return their results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("atexit.register", lambda function: function)
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    shutil.copy(YAML, tmp_path / "conf" / "hydra" / "launcher")
    (tmp_path / "conf" / "config.yaml").write_text("x: 0\n")
    root, of_sigterm = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    kept = root.handlers[:], root.level

    def run(task: Callable[..., Any], *words: str) -> Any:
        words = ("hydra/launcher=ray", "hydra.sweep.dir=out", *words)
        with initialize_config_dir(config_dir=str(tmp_path / "conf"), version_base="1.3"):
            app = GlobalHydra.instance().hydra
            assert app is not None
            (results,) = app.multirun("config", task, list(words))
        return results

    yield run
    assert signal.getsignal(signal.SIGTERM) is of_sigterm
    for handler in set(root.handlers) - set(kept[0]):
        handler.close()
    root.handlers[:], root.level = kept


def square(config: DictConfig) -> dict[str, float]:
    if config.x == 13:
        raise ZeroDivisionError("by what\nat length")
    if config.x == 14:
        sys.exit(3)
    return {"square": config.x**2, "number": HydraConfig.get().job.num}


def test_results_come_in_the_order_of_the_jobs(sweep, ray, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(irdream_sweep.VARIABLE, '{"name": "mine"}')
    ray.resources["CPU"] = 3.0
    results = sweep(
        square, "x=5,6,7", "hydra.launcher.num_cpus=2.5", "hydra.launcher.num_gpus=0",
        "+hydra.launcher.env.MINE=1", "+hydra.launcher.init.num_cpus=3",
    )  # fmt: skip

    assert [result.return_value for result in results] == [
        {"square": 25, "number": 0}, {"square": 36, "number": 1}, {"square": 49, "number": 2},
    ]  # fmt: skip
    assert [result.overrides for result in results] == [["x=5"], ["x=6"], ["x=7"]]
    assert results[1].hydra_cfg.hydra.runtime.output_dir == str(tmp_path / "out" / "1")
    assert (tmp_path / "out" / "1" / ".hydra" / "config.yaml").read_text() == "x: 6\n"
    assert ray.most == 3
    assert ray.began["address"] == "local"
    assert ray.began["num_cpus"] == 3
    assert ray.options[2] == {
        "name": "job 2",
        "num_cpus": 2.5,
        "num_gpus": 0,
        "max_retries": 0,
        "runtime_env": {
            "env_vars": {
                "OMP_NUM_THREADS": "2",
                "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
                "IRDREAM_SWEEP": '{"name": "mine"}',
                "MINE": "1",
            }
        },
    }
    assert ray.is_up  # for the next batch


def test_no_more_jobs_at_once_than_asked_for(sweep, ray) -> None:
    assert len(sweep(square, "x=1,2,3", "hydra.launcher.max_jobs=2")) == 3
    assert ray.most == 2


def test_a_job_that_died_has_failed_and_the_others_have_run(sweep, ray, tmp_path) -> None:
    ray.dies = {"job 1"}
    before = Job(["x=6"], "", number=1, sweep_folder=str(tmp_path / "out"), status="finished")
    before.write()  # by a sweep in the same folder
    with pytest.raises(InputError, match=r"^job 1 died: WorkerCrashedError: The worker died.$"):
        sweep(square, "x=5,6,7")
    assert sorted(path.parent.name for path in tmp_path.glob("out/*/.hydra")) == ["0", "2"]
    jobs, damaged = read_jobs(tmp_path / "out")
    assert damaged == []
    assert (jobs[1].number, jobs[1].overrides, jobs[1].status) == (1, ["x=6"], "killed")


def test_an_error_comes_back_as_one_line_that_any_process_reads(sweep, capsys) -> None:
    with pytest.raises(_ray_job.JobError, match=r"^job 0: ZeroDivisionError: by what$"):
        sweep(square, "x=13,1")
    assert "at length" in capsys.readouterr().err  # the traceback, where the job ran


def test_a_job_may_end_the_sweep(sweep, ray, tmp_path) -> None:
    with pytest.raises(SystemExit, match="3"):
        sweep(square, "x=1,2,14")
    assert ray.cancelled == ["job 0", "job 1"]
    assert not ray.is_up


def test_an_interrupt_cancels_the_jobs(sweep, ray, monkeypatch) -> None:
    def interrupt(references: list[Any], **how: Any) -> Any:
        if how["timeout"] == 0:
            raise KeyboardInterrupt
        return references, []

    monkeypatch.setattr(ray, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sweep(square, "x=1,2")
    assert ray.cancelled == ["job 0", "job 1"]
    assert not ray.is_up


def test_a_ray_that_another_started_stays_up(sweep, ray) -> None:
    ray.is_up = True
    with pytest.raises(SystemExit):
        sweep(square, "x=14")
    assert ray.is_up
    assert ray.began == {}


def test_without_ray_a_line_says_what_to_install(sweep, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"^hydra/launcher=ray needs the .*'irdream\[ray\]'$"):
        sweep(square, "x=1")


def test_a_job_that_no_machine_can_hold_is_refused_or_waits(sweep, ray) -> None:
    with pytest.raises(InputError, match="num_gpus=1; expected at most what this machine has: 2 a"):
        sweep(square, "x=1", "hydra.launcher.num_gpus=1")
    assert not ray.is_up
    with socket.socket() as there:  # a cluster may grow
        there.bind(("127.0.0.1", 0))
        there.listen()
        address = f"127.0.0.1:{there.getsockname()[1]}"
        assert not _ray_cluster.has_room(ray, Settings(address=address, num_cpus=1, num_gpus=1))
        sweep(square, "x=1", f"hydra.launcher.address='{address}'", "hydra.launcher.num_cpus=4")
    assert ray.began["address"] == address
    assert "object_store_memory" not in ray.began


def test_what_ray_refuses_is_one_line(sweep) -> None:
    with pytest.raises(InputError, match=r"^.* Ray cannot be started here: Unknown .* num_cpu$"):
        sweep(square, "x=1", "+hydra.launcher.init.num_cpu=3")
    with pytest.raises(
        InputError, match=r"=auto; the cluster cannot be joined: Unknown .* num_cpu$"
    ):
        sweep(square, "x=1", "+hydra.launcher.init.num_cpu=3", "hydra.launcher.address=auto")


def test_an_address_where_nothing_answers_is_told_at_once(ray) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match=r"nothing answers there .*; start a cluster: ray start"):
        _ray_cluster.connect(ray, Settings(address=address))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": "here"}, "address='here'; expected null, auto, HOST:PORT or ray://HOST:PORT"),
        ({"address": 6379}, "address=6379; expected null, auto"),
        ({"num_cpus": 0}, "num_cpus=0; expected a number above 0"),
        ({"num_cpus": float("inf")}, "num_cpus=inf; expected a number above 0"),
        ({"num_gpus": -1}, "num_gpus=-1; expected a number, at least 0"),
        ({"num_gpus": "all"}, "num_gpus='all'; expected a number, at least 0"),
        ({"max_jobs": 0}, "max_jobs=0; expected a whole number, at least 1, or null"),
        ({"env": "A"}, "env='A'; expected keys with values"),
        ({"init": {"address": "auto"}}, "init.address is the launcher's own; use hydra.launcher.a"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message) -> None:
    with pytest.raises(InputError, match=f"^hydra.launcher.{message}"):
        Settings(**settings)


def test_a_task_of_the_script_is_found_by_its_path(tmp_path, monkeypatch) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    main = SimpleNamespace(__file__=str(tmp_path / "app.py"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    task: Any = lambda config: None  # noqa: E731
    task.__module__, task.__qualname__ = "__main__", "run"
    found = _ray_job.portable_task(task)

    assert found == _ray_job.ScriptTask(str(tmp_path / "app.py"), "run")
    monkeypatch.delitem(sys.modules, _ray_job.MAIN, raising=False)
    assert found.load()(SimpleNamespace(x=3)) == {"square": 9}
    monkeypatch.delitem(sys.modules, _ray_job.MAIN)
    assert _ray_job.portable_task(square) is square
    with pytest.raises(InputError, match=r"no file 'gone.py' on .*; expected the same folders on"):
        _ray_job.ScriptTask("gone.py", "run").load()


def test_a_machine_without_the_folder_says_so(ray) -> None:
    result = cloudpickle.loads(_ray_job.work("/no/such/folder", [], 0, b""))
    with pytest.raises(InputError, match=r"no folder '/no/such/folder' on .*; expected the same"):
        raise result._return_value


def test_a_result_that_cannot_travel_is_a_failure(ray, capsys) -> None:
    class Stuck:
        def run(self) -> JobReturn:
            return JobReturn(status=JobStatus.COMPLETED, _return_value=iter(open))  # type: ignore[call-overload]

    result = cloudpickle.loads(_ray_job.work(os.getcwd(), [], 4, cloudpickle.dumps(Stuck())))
    assert result.status == JobStatus.FAILED
    assert str(result._return_value).startswith("job 4: TypeError: ")
    capsys.readouterr()


def test_results_are_read_without_anything_heavy() -> None:
    error = cloudpickle.dumps(_ray_job.failed(_ray_job.JobError("job 0 died")))
    script = (
        f"import pickle, sys; print(pickle.loads({error!r})._return_value); "
        "print([name for name in ('torch', 'mlflow', 'numpy', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["job 0 died", "[]"], done.stderr
