"""A Hydra launcher that runs jobs on Ray, 2.40 or newer: `hydra/launcher=ray`.

The released hydra-ray-launcher (1.2.2) asks for cloudpickle below 3, joblib 1.6, which comes with
scikit-learn, for 3 or newer: they cannot be installed together. It also runs a job again whose
process was killed, loses the results of all jobs when one died, and hands no environment
variables to a cluster's processes. See docs/ray.md.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from hydra_plugins.irdream._ray_job import Job

log = logging.getLogger(__name__)


class RayLauncher(Launcher):
    """Runs jobs on Ray; conf/hydra/launcher/ray.yaml says what each key means."""

    def __init__(self, **settings: Any) -> None:
        self._words = settings
        self._is_ours = False  # what another has started stays up
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.hydra_context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives.

        Raises:
            InputError: on settings that cannot be used, or when Ray is missing.
        """
        from hydra_plugins.irdream._ray_cluster import load_ray
        from hydra_plugins.irdream._ray_settings import Settings

        self._settings, self._ray = Settings(**self._words), load_ray()
        self.hydra_context, self.task_function = hydra_context, task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run a job for each list of overrides; Ray stays up for the next batch.

        Returns:
            The results in the order of the jobs. A job that died has failed; the others have run.

        Raises:
            InputError: when Ray cannot be started or joined, or no machine can hold a job.
            SystemExit: when a job ends the sweep; those that run are stopped.
        """
        from hydra_plugins.irdream._ray_queue import Queue

        setup_globals()
        assert self.config is not None
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        try:
            self._connect()
            jobs = (self._job(initial_job_idx + i, list(o)) for i, o in enumerate(job_overrides))
            return Queue(self._ray, self._settings).run(jobs)
        except BaseException:
            if self._is_ours:
                self._ray.shutdown()
            raise

    def _connect(self) -> None:
        from hydra_plugins.irdream._ray_cluster import connect, has_room

        if not self._ray.is_initialized():
            self._is_ours = True
            atexit.register(self._ray.shutdown)
            connect(self._ray, self._settings)
        if not has_room(self._ray, self._settings):
            log.warning("no machine of the cluster can hold a job yet; waiting for one")

    def _job(self, number: int, overrides: list[str]) -> Job:
        from hydra_plugins.irdream._ray_job import Job, portable_task

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        task = portable_task(self.task_function)
        return Job(number, task, config, self.hydra_context, Singleton.get_state())
