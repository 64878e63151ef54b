"""A Hydra launcher that runs a sweep's jobs as an array of Slurm: `hydra/launcher=slurm`.

hydra-submitit-launcher makes the jobs and runs each on its node. Its own way of waiting gives up
at the first job that was killed, with the others still running, and waits for ever for a killed
job where a cluster keeps no accounts (`sacct`). So here all jobs are waited for, and `squeue`
tells which are gone. See docs/cluster.md.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from irdream.errors import InputError
from irdream.sweeps.job import Job, record

try:
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
except ImportError:  # without the extra slurm
    if not TYPE_CHECKING:
        BaseSubmititLauncher = Launcher

PROGRAMS = ("sbatch", "squeue", "srun")
SHARED = {  # keys that submitit calls the same for every kind of cluster
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name",
    "stderr_to_stdout",
}  # fmt: skip
SBATCH_ERROR = "sbatch: error: "
ASK_SECONDS = 10.0  # between two questions to Slurm
GRACE_SECONDS = 10.0  # on a file server a result may be seen later than its job is gone
ANSWER_SECONDS = 30.0  # for Slurm to answer


class SlurmLauncher(BaseSubmititLauncher):
    """Submits with submitit; conf/hydra/launcher/slurm.yaml says what each key means."""

    def __init__(self, **params: Any) -> None:
        if BaseSubmititLauncher is not Launcher:
            super().__init__(**params)

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Take what Hydra gives; raise InputError when submitit is missing."""
        try:
            import submitit  # noqa: F401

            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        except (ImportError, NotImplementedError) as error:
            raise InputError(
                'hydra/launcher=slurm needs the extra slurm; pip install "irdream[slurm]"'
            ) from error

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs and wait for all of them; one that was killed has failed.

        Raises InputError when Slurm is not there or refuses the jobs; SystemExit when a job ends
        the sweep: the others are cancelled.
        """
        if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
            raise InputError(
                f"hydra/launcher=slurm: {', '.join(missing)} not found; expected a machine with "
                "Slurm's commands; log in to one, or take hydra/launcher=joblib"
            )
        assert self.config is not None
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        numbered = enumerate(job_overrides, start=initial_job_idx)
        jobs = [_SlurmJob(words, folder, number) for number, words in numbered]
        self._submit(jobs)
        array = jobs[0].id.partition("_")[0]
        logs = jobs[0].paths.folder.parent
        print(f"Slurm: job {array}, {len(jobs)} to run; logs in {logs}", flush=True)
        _finish(jobs, array)
        return [job.result() for job in jobs]

    def _submit(self, jobs: Sequence[_SlurmJob]) -> None:
        from submitit import AutoExecutor

        own = dict(self.params)
        folder, retries = own.pop("submitit_folder"), own.pop("max_num_timeout")
        keys = {key if key in SHARED else f"slurm_{key}": value for key, value in own.items()}
        state = Singleton.get_state()
        arguments = [
            (job.overrides, "hydra.sweep.dir", job.number, f"job_id_for_{job.number}", state)
            for job in jobs
        ]
        try:
            executor = AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=retries)
            executor.update_parameters(**keys)
            with contextlib.redirect_stderr(io.StringIO()):  # the reason is said once, below
                submitted = executor.map_array(self, *zip(*arguments, strict=True))
        except RuntimeError as error:  # all errors of submitit are of this kind
            lines = [line for line in str(error).splitlines() if line.strip()] or ["sbatch failed"]
            reasons = [line for line in lines if line.startswith(SBATCH_ERROR)] or lines[-1:]
            reason = "; ".join(line.removeprefix(SBATCH_ERROR) for line in reasons)
            raise InputError(f"hydra/launcher=slurm: {reason}") from error
        for job, own_job in zip(jobs, submitted, strict=True):
            job.id, job.paths = own_job.job_id, own_job.paths


class _SlurmJob:
    """A job of the sweep; submitit and Slurm name it `<array>_<index>`, a single one `<job>`."""

    def __init__(self, overrides: Sequence[str], folder: Path, number: int) -> None:
        self.overrides, self.folder, self.number = list(overrides), folder, number
        self.id = ""
        self.paths: Any = None
        self._record = record(folder, number)
        self._before = _written(self._record)  # by a sweep that was typed before

    def has_result(self) -> bool:
        """Return whether it ran to its end."""
        return _written(self.paths.result_pickle) is not None

    def has_begun(self) -> bool:
        """Return whether it has written its record since it was submitted."""
        return _written(self._record) != self._before

    def ends_sweep(self) -> bool:
        """Return whether it failed and left no result: sweep.stop_on_failure does so."""
        if not self.has_begun() or self.has_result():
            return False
        return json.loads(self._record.read_text(encoding="utf-8"))["status"] == "failed"

    def result(self) -> JobReturn:
        """Return its result; an error in one line where it was killed or failed."""
        log = self.paths.stderr
        if not self.has_result():
            where = f"; see {log}" if log.exists() else ""
            return self._failed(f"was killed{where}; the same command again runs it")
        try:
            outcome, value = pickle.loads(self.paths.result_pickle.read_bytes())
        except Exception as error:  # an exception of a package that is not here, say
            return self._failed(f"left a result that cannot be read: {type(error).__name__}")
        if outcome == "success":
            return value
        return self._failed(f"failed: {value.strip().splitlines()[-1]}; see {log}")

    def _failed(self, reason: str) -> JobReturn:
        problem = InputError(f"job {self.number} of the sweep {reason}")
        return JobReturn(self.overrides, status=JobStatus.FAILED, _return_value=problem)


def _finish(jobs: Sequence[_SlurmJob], array: str) -> None:
    """Wait for the jobs; write down those that were killed, also when it is interrupted."""
    others = list(jobs)
    try:
        while (stopper := _wait(others)) is not None:
            others.remove(stopper)
            print(f"job {stopper.number} ends the sweep: scancel {array}", file=sys.stderr)
            subprocess.run(["scancel", array], timeout=ANSWER_SECONDS, check=False)
    except BaseException:
        print(f"the jobs go on; to end them: scancel {array}", file=sys.stderr, flush=True)
        raise
    finally:
        for job in jobs:
            if not job.has_result() and not job.has_begun():
                folder = str(job.folder)
                Job(job.overrides, "", job.number, sweep_folder=folder, status="killed").write()
    if len(others) < len(jobs):
        sys.exit(1)


def _wait(jobs: Sequence[_SlurmJob]) -> _SlurmJob | None:
    """Return when each job has left a result or is gone, or at once when one ends the sweep."""
    waiting, asked = list(jobs), time.monotonic()
    gone: dict[str, float] = {}
    while waiting := [job for job in waiting if not job.has_result()]:
        time.sleep(max(1.0, len(waiting) / 100))  # a file server is asked for each job
        now = time.monotonic()
        if now - asked >= ASK_SECONDS:
            asked, queued = now, _queued()
            lost = [job.id for job in waiting if queued is not None and job.id not in queued]
            gone = {name: gone.get(name, now) for name in lost}
        for job in [one for one in waiting if now - gone.get(one.id, now) >= GRACE_SECONDS]:
            waiting.remove(job)
            if job.ends_sweep():
                return job
    return None


def _queued() -> set[str] | None:
    """Return the jobs that wait or run, as submitit names them; None when Slurm is silent."""
    words = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%F_%K"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        return None
    return {line.strip().removesuffix("_N/A") for line in done.stdout.splitlines()}


def _written(path: Path) -> int | None:
    """Return when a file was written, in ns; None when it is not there."""
    try:
        next(path.parent.iterdir(), None)  # asks a file server anew
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
