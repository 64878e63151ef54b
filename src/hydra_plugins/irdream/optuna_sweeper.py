"""A Hydra sweeper that searches with Optuna, version 4 or 5: `hydra/sweeper=optuna`.

Values are proposed in batches, a batch is run by whatever launcher Hydra has, its results are
told, and so on: Optuna's ask-and-tell interface. See docs/search.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.irdream import _optuna_results
from hydra_plugins.irdream._optuna_methods import make_pruner, sampler_maker
from hydra_plugins.irdream._optuna_pruning import VARIABLE
from hydra_plugins.irdream._optuna_settings import (
    Settings,
    batch_size,
    check_targets,
    objectives_of,
)
from hydra_plugins.irdream._optuna_space import Space, read_space
from hydra_plugins.irdream._optuna_storage import place_of
from hydra_plugins.irdream._optuna_study import Search, error_line, open_study
from irdream.errors import InputError
from irdream.sweeps.job import forget_jobs, record

if TYPE_CHECKING:
    from optuna.trial import Trial

log = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """Searches with Optuna; conf/hydra/sweeper/optuna.yaml says what each key means."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives.

        Raises:
            InputError: when Optuna is missing or too old.
        """
        from hydra.core.plugins import Plugins

        try:
            import optuna.storages.journal  # noqa: F401  since Optuna 4
        except ImportError as error:
            raise InputError(
                "hydra/sweeper=optuna needs the package optuna, 4 or newer; "
                "pip install 'irdream[optuna]'"
            ) from error
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> dict[str, Any]:
        """Search, and return what was found.

        Args:
            arguments: the overrides on the command line, without Hydra's own.

        Raises:
            InputError: on settings that cannot be used, or when no trial has values at the end.
        """
        assert self.config is not None
        if self.config.get("info"):
            self._say(arguments)
            return {}
        folder = Path(self.config.hydra.sweep.dir)
        search = self._open(arguments)
        folder.mkdir(parents=True, exist_ok=True)
        forget_jobs(folder, but=search.jobs())
        OmegaConf.save(self.config, folder / "multirun.yaml")
        self._run(search, folder)
        path = _optuna_results.write_results(search, folder)
        _optuna_results.show_results(search, path)
        if not search.complete():
            reasons = [t.user_attrs.get("reason") for t in search.study.get_trials(deepcopy=False)]
            first = next(filter(None, reasons), "all were interrupted")
            raise InputError(f"no trial of study {search.place.name!r} succeeded; first: {first}")
        return _optuna_results.results(search)

    def _say(self, arguments: Sequence[str]) -> None:
        """Let one job say what it would do; no study is opened."""
        assert self.hydra_context is not None
        assert self.launcher is not None
        settings, loader = Settings(**self._settings), self.hydra_context.config_loader
        space = read_space(settings.params, arguments, loader)
        self._compose(space)
        self.launcher.launch(space.probes()[:1], initial_job_idx=0)

    def _open(self, arguments: Sequence[str]) -> Search:
        assert self.config is not None
        assert self.hydra_context is not None
        settings, hydra = Settings(**self._settings), self.config.hydra
        self._check_targets(settings)
        space = read_space(settings.params, arguments, self.hydra_context.config_loader)
        objectives = objectives_of(settings, self._compose(space))
        batch = batch_size(settings, hydra.launcher)
        sampler = sampler_maker(settings, objectives=len(objectives), batch=batch)
        place = place_of(
            settings.study_name, settings.storage, sweep_dir=hydra.sweep.dir, root=Path.cwd()
        )
        study = open_study(place, objectives=objectives, space=space, pruner=make_pruner(settings))
        search = Search(study, place, space, objectives, settings.trials, batch, sampler)
        search.release(take_over=settings.take_over)
        log.info("study %s in %s: %d trials to go", place.name, place.shown, search.left())
        return search

    def _check_targets(self, settings: Settings) -> None:
        assert self.config is not None
        trusted = [str(package) for package in self.config.get("trust") or ()]
        typed = self.config.hydra.overrides.hydra
        for name, node in (("sampler", settings.sampler), ("pruner", settings.pruner)):
            check_targets(name, node, trusted=trusted, typed=typed)

    def _compose(self, space: Space) -> str | None:
        """Compose a job with each choice, so that a typo ends a search before it starts.

        Returns:
            The task of the first.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        compose = self.hydra_context.config_loader.load_sweep_config
        jobs = [compose(self.config, overrides) for overrides in space.probes()]
        return jobs[0].hydra.runtime.choices.get("task")

    def _run(self, search: Search, folder: Path) -> None:
        """Run batches until there are enough trials; keep the results so far in the folder."""
        next_job, has_run = 0, False
        while batch := search.ask():
            first = max(next_job, batch[0].number)  # a job's folder is named as its trial
            next_job = first + len(batch)
            try:
                results = self._launch(search, batch, first)
            except Exception as error:  # the launcher's, such as a worker that was killed
                for trial in batch:
                    search.fail(trial, error_line(error))
                if not has_run:
                    raise
                continue
            except BaseException:
                search.abandon(batch)
                raise
            has_run = True
            for trial, result in zip(batch, results, strict=True):
                _tell(search, trial, result)
            search.check_metrics()
            _optuna_results.write_results(search, folder)

    def _launch(self, search: Search, batch: Sequence[Trial], first: int) -> Sequence[JobReturn]:
        assert self.launcher is not None
        jobs = [search.overrides(trial) for trial in batch]
        if self._settings.get("pruner") is not None:
            for trial, job in zip(batch, jobs, strict=True):
                job.append(f"+hydra.job.env_set.{VARIABLE}='{trial._trial_id}'")
        return self.launcher.launch(jobs, initial_job_idx=first)


def _tell(search: Search, trial: Trial, result: JobReturn) -> None:
    """Tell a job's result; `return_value` would raise the error of a job that failed."""
    hydra = result.hydra_cfg.hydra if result.hydra_cfg else None
    folder = hydra and hydra.runtime.output_dir
    told = hydra and record(Path(hydra.sweep.dir), hydra.job.num)
    search.tell(trial, result._return_value, folder, told)
