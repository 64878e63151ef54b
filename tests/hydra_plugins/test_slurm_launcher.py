"""The launcher for Slurm, on a Slurm of a few lines; tests/cluster/test_slurm.py has the real one.

submitit is the real one. The jobs run in this process, one with each second that is waited.
"""

import os
import pickle
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from hydra_plugins.irdream import slurm_launcher
from irdream.errors import InputError
from irdream.sweeps.job import Job, read_jobs

pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs irdream[slurm]")
utils = pytest.importorskip("submitit.core.utils", reason="needs irdream[slurm]")

YAML = Path(__file__).parents[2] / "conf" / "hydra" / "launcher" / "slurm.yaml"
PROGRAMS = {
    "sbatch": 'cat refusal >&2; [ ! -s refusal ] || exit 1; echo >>count; n=$(grep -c "" count)\n'
    'cp "$1" script.$n; echo "Submitted batch job $n"',
    "squeue": 'echo "$@" >>asked; [ ! -e silent ] || exit 1; cat queue',
    "scancel": 'echo "$@" >>cancelled; : >queue',
    "srun": "",
}
Sweep = Callable[..., Any]


class FakeSlurm:
    """Its commands are scripts, which find its state in files; its clock is the launcher's."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, 1000.0
        self.dies, self.interrupts, self.silent_until = set[str](), False, 0.0
        self.queue: list[str] | None = None
        self.begun = 0  # arrays
        for name in ("refusal", "queue", "count", "cancelled", "asked"):
            (folder / name).touch()
        for name, lines in PROGRAMS.items():
            path = folder / name
            path.write_text(f"#!/bin/sh\ncd '{folder}'\n{lines}\n")
            path.chmod(0o755)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.interrupts:
            raise KeyboardInterrupt
        self._take_up()
        queue = self.read("queue").split()
        if queue:
            identity = queue[0].removesuffix("_N/A")
            if identity not in self.dies:
                self.run(identity)
            (self.folder / "queue").write_text("\n".join(queue[1:]) + "\n")
        silent = self.folder / "silent"
        silent.touch() if self.now < self.silent_until else silent.unlink(missing_ok=True)

    def run(self, identity: str) -> None:
        """Run a job as submitit does on its node."""
        array, _, index = identity.partition("_")
        own = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": array}
        if index:
            own |= {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": index}
        paths = utils.JobPaths("out/.submitit/%j", job_id=identity)
        submission = utils.DelayedSubmission.load(paths.submitted_pickle)
        state = Singleton.get_state()
        try:
            with utils.environment_variables(**own):
                result = "success", submission.result()
        except SystemExit:
            return
        finally:
            Singleton.set_state(state)
        utils.cloudpickle_dump(result, paths.result_pickle)

    def _take_up(self) -> None:
        """Queue the arrays that were submitted since."""
        for number in range(self.begun + 1, len(self.read("count").splitlines()) + 1):
            match = re.search(r"--array=0-(\d+)%", self.read(f"script.{number}"))
            indices = [str(i) for i in range(int(match[1]) + 1)] if match else ["N/A"]
            with (self.folder / "queue").open("a") as queue:
                queue.write("".join(f"{number}_{index}\n" for index in indices))
            self.begun = number


@pytest.fixture
def slurm(tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path_factory.mktemp("slurm"))
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    sleep, monotonic, here = time.sleep, time.monotonic, threading.get_ident()

    def is_here() -> bool:
        return threading.get_ident() == here  # threads of other libraries sleep as ever

    monkeypatch.setattr("time.sleep", lambda s: fake.sleep(s) if is_here() else sleep(s))
    monkeypatch.setattr("time.monotonic", lambda: fake.now if is_here() else monotonic())
    return fake


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slurm: FakeSlurm) -> Sweep:
    """Launch jobs as `python app.py -m hydra/launcher=slurm ...` does, and return the results."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    shutil.copy(YAML, tmp_path / "conf" / "hydra" / "launcher")
    (tmp_path / "conf" / "config.yaml").write_text("x: 0\n")
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")

    def run(*words: str) -> Any:
        words = ("hydra/launcher=slurm", "hydra.sweep.dir=out", *quiet, *words)
        with initialize_config_dir(config_dir=str(tmp_path / "conf"), version_base="1.3"):
            app = GlobalHydra.instance().hydra
            assert app is not None
            return app.multirun("config", square, list(words))

    return run


def square(config: DictConfig) -> dict[str, float]:
    job = HydraConfig.get()
    folder = str(Path(job.runtime.cwd, "out"))
    about = Job([f"x={config.x}"], job.runtime.output_dir, job.job.num, sweep_folder=folder)
    about.status = "failed" if config.x == 13 else "finished"
    about.write()
    if config.x == 13:  # as with sweep.stop_on_failure
        sys.exit(1)
    return {"square": config.x**2, "number": job.job.num}


def statuses(folder: Path) -> dict[int, str]:
    jobs, damaged = read_jobs(folder / "out")
    assert damaged == []
    return {job.number: job.status for job in jobs}


def test_results_come_in_the_order_of_the_jobs(sweep, slurm, tmp_path, capsys) -> None:
    (results,) = sweep(
        "x=5,6,7", "hydra.launcher.array_parallelism=2", "hydra.launcher.partition=long",
        "hydra.launcher.setup=[module load cuda]",
        "+hydra.launcher.additional_parameters.mail-type=END",
    )  # fmt: skip

    assert [result.return_value for result in results] == [
        {"square": 25, "number": 0}, {"square": 36, "number": 1}, {"square": 49, "number": 2},
    ]  # fmt: skip
    assert [result.overrides for result in results] == [["x=5"], ["x=6"], ["x=7"]]
    assert (tmp_path / "out" / "1" / ".hydra" / "config.yaml").read_text() == "x: 6\n"
    script = slurm.read("script.1")
    for line in ("array=0-2%2", "partition=long", "mail-type=END", "job-name=irdream", "time=60",
                 "cpus-per-task=2", "mem=4GB", "signal=USR2@120"):  # fmt: skip
        assert f"#SBATCH --{line}\n" in script
    assert "\nmodule load cuda\n" in script
    assert f" {sys.executable} -u -m submitit" in script
    shown = capsys.readouterr().out
    assert shown == f"Slurm: job 1, 3 to run; logs in {tmp_path / 'out' / '.submitit'}\n"


def test_batches_go_on_counting_and_one_job_is_no_array(sweep, slurm) -> None:
    results = sweep("x=5,6,7", "hydra.sweeper.max_batch_size=2")

    assert [[one.return_value["number"] for one in batch] for batch in results] == [[0, 1], [2]]
    assert "--array" not in slurm.read("script.2")


def test_a_killed_job_is_told_and_the_others_run(sweep, slurm, tmp_path) -> None:
    before = Job(["x=6"], "out/1", number=1, sweep_folder=str(tmp_path / "out"))
    before.status = "finished"
    before.write()  # by a sweep in the same folder
    slurm.dies = {"1_1"}
    expected = r"^job 1 of the sweep was killed; the same command again runs it$"
    with pytest.raises(InputError, match=expected):
        sweep("x=5,6,7")

    assert statuses(tmp_path) == {0: "finished", 1: "killed", 2: "finished"}
    assert slurm.now <= 1000 + 30
    assert f"--user={os.getuid()} " in slurm.read("asked")


def test_a_single_job_that_is_killed_names_its_log(sweep, slurm, tmp_path, monkeypatch) -> None:
    slurm.dies = {"1"}
    log = tmp_path / "out" / ".submitit" / "1" / "1_0_log.err"
    log.parent.mkdir(parents=True)
    log.touch()
    with pytest.raises(InputError, match=f"^job 0 of the sweep was killed; see {log}; the same"):
        sweep("x=5")


def test_a_job_is_not_lost_while_slurm_is_silent(sweep, slurm, tmp_path) -> None:
    slurm.dies, slurm.silent_until = {"1_0"}, 1200.0
    with pytest.raises(InputError, match=r"^job 0 of the sweep was killed"):
        sweep("x=5,6")
    assert 1200 < slurm.now < 1230


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (("error", "Traceback\nE: timed-out\n"), "failed: E: timed-out; see .*/9_0_log.err$"),
        (None, "left a result that cannot be read: EOFError$"),
    ],
)
def test_what_submitit_left_is_told_in_one_line(tmp_path, result, message) -> None:
    job = slurm_launcher._SlurmJob(["x=1"], tmp_path, 3)
    job.id, job.paths = "9", utils.JobPaths(tmp_path / "%j", job_id="9")
    (tmp_path / "9").mkdir()
    job.paths.result_pickle.write_bytes(b"" if result is None else pickle.dumps(result))
    told = job.result()
    with pytest.raises(InputError, match=f"^job 3 of the sweep {message}"):
        _ = told.return_value


def test_an_interrupt_leaves_the_jobs_and_says_how_to_end_them(
    sweep, slurm, tmp_path, capsys
) -> None:
    slurm.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        sweep("x=5,6")
    assert capsys.readouterr().err == "the jobs go on; to end them: scancel 1\n"
    assert statuses(tmp_path) == {0: "killed", 1: "killed"}
    assert slurm.read("cancelled") == ""


def test_a_job_may_end_the_sweep(sweep, slurm, tmp_path, capsys) -> None:
    slurm.dies = {"1_2"}
    with pytest.raises(SystemExit, match="1"):
        sweep("x=5,13,6")
    assert slurm.read("cancelled") == "1\n"
    assert capsys.readouterr().err == "job 1 ends the sweep: scancel 1\n"
    assert statuses(tmp_path) == {0: "finished", 1: "failed", 2: "killed"}


def test_what_slurm_refuses_is_one_line(sweep, slurm, tmp_path, capsys) -> None:
    (slurm.folder / "refusal").write_text(
        "sbatch: warning: late\nsbatch: error: invalid partition specified: no\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    )
    expected = r"^hydra/launcher=slurm: invalid partition specified: no; Batch job [\w :]+$"
    with pytest.raises(InputError, match=expected):
        sweep("x=5,6", "hydra.launcher.partition=no")
    assert capsys.readouterr().err == ""
    assert statuses(tmp_path) == {}


def test_without_slurm_or_submitit_a_line_says_so(sweep, slurm, tmp_path, monkeypatch) -> None:
    (slurm.folder / "squeue").rename(slurm.folder / "other")
    monkeypatch.setenv("PATH", str(slurm.folder))
    with pytest.raises(InputError, match=r"=slurm: squeue not found; expected a machine with Sl"):
        sweep("x=5")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(
        InputError, match=r'^hydra/launcher=slurm needs the extra slurm; .*"irdream\[slurm\]"$'
    ):
        sweep("x=5")
