"""Jobs are handed to Ray, their results collected; a job that dies costs itself alone."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import cloudpickle
from hydra.core.utils import JobReturn

from hydra_plugins.irdream._ray_job import Job, JobError, failed, first_line, work
from hydra_plugins.irdream._ray_settings import Settings
from irdream import sweep
from irdream.job import Job as SweepJob

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2
CANCEL_SECONDS = 20.0  # for the jobs to close their runs
OUTPUT_SECONDS = 0.5  # until the last lines that the jobs printed are here


class Queue:
    """Runs jobs on Ray.

    Args:
        ray: the module, connected.
        settings: how many jobs at once, and what each needs.
    """

    def __init__(self, ray: ModuleType, settings: Settings) -> None:
        self._ray, self._settings = ray, settings
        self._task = ray.remote(work)
        self._running: dict[Any, Job] = {}  # by the reference to its result

    def run(self, jobs: Iterable[Job]) -> list[JobReturn]:
        """Run jobs and return their results in the same order.

        Raises:
            SystemExit: when a job ends the sweep.
        """
        waiting, results = iter(jobs), dict[int, JobReturn]()
        try:
            while True:
                self._fill(waiting)
                if not self._running:
                    break
                for reference in self._done():
                    job = self._running.pop(reference)
                    results[job.number] = self._result(reference, job)
        except BaseException:
            self._cancel()
            raise
        finally:
            time.sleep(OUTPUT_SECONDS)
        return [results[number] for number in sorted(results)]

    def _fill(self, waiting: Iterable[Job]) -> None:
        most = self._settings.max_jobs
        while most is None or len(self._running) < most:
            job = next(iter(waiting), None)
            if job is None:
                break
            log.info(f"\t#{job.number} : {job.told}")
            tell(job)
            reference = self._task.options(**self._options(job)).remote(
                os.getcwd(), sys.path, job.number, cloudpickle.dumps(job)
            )
            self._running[reference] = job

    def _done(self) -> list[Any]:
        """Return what is done, after a short sleep if nothing is.

        The sleep is not left to Ray, which would turn SIGTERM's exit status into 1.
        """
        count = len(self._running)
        done, _ = self._ray.wait(list(self._running), num_returns=count, timeout=0)
        if not done:
            time.sleep(POLL_SECONDS)
        return done

    def _options(self, job: Job) -> dict[str, Any]:
        return {
            "name": f"job {job.number}",  # what its lines begin with
            "num_cpus": self._settings.num_cpus,
            "num_gpus": self._settings.num_gpus,
            "max_retries": 0,
            "runtime_env": {"env_vars": environment(self._settings)},
        }

    def _result(self, reference: Any, job: Job) -> JobReturn:
        try:
            result = pickle.loads(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            line = f"job {job.number} died: {type(cause).__name__}: {first_line(cause)}"
            log.error(line)
            result = failed(JobError(line))
        if not isinstance(result, JobReturn):
            raise SystemExit(result)
        result.overrides = list(job.config.hydra.overrides.task)
        return result

    def _cancel(self) -> None:
        """Stop the jobs as Ctrl-C would, so that they close their runs."""
        for reference in self._running:
            self._ray.cancel(reference)
        if self._running:
            count = len(self._running)
            self._ray.wait(list(self._running), num_returns=count, timeout=CANCEL_SECONDS)


def tell(job: Job) -> None:
    """Tell the sweep of a job that it would not know of if it were killed before it began."""
    hydra = job.config.hydra
    before = SweepJob(list(hydra.overrides.task), "", job.number, sweep_folder=str(hydra.sweep.dir))
    before.status = "killed"
    before.write()


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that a job gets besides those of the machine where it runs.

    Threads are set although Ray would set them, since they may be set where Ray was started.
    """
    own = {
        "OMP_NUM_THREADS": str(settings.threads),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # no GPU asked for, none seen
    }
    if text := os.environ.get(sweep.VARIABLE):
        own[sweep.VARIABLE] = text
    return {**own, **{str(name): str(value) for name, value in settings.env.items()}}
