"""What a job does so that a search can stop it: it reports what it logs.

A job runs in another process than the search, so that it finds its trial through the storage:
the sweeper sets IRDREAM_TRIAL in the job's environment, the rest stands in Hydra's settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from hydra_plugins.irdream._optuna_methods import make_pruner
from hydra_plugins.irdream._optuna_settings import Settings
from hydra_plugins.irdream._optuna_storage import place_of

if TYPE_CHECKING:
    from optuna.trial import Trial

VARIABLE = "IRDREAM_TRIAL"


class JobPrunedError(Exception):
    """The search stops this job; it knows so already, whatever becomes of this exception."""


class Reporting:
    """A tracker that also tells the search the objective at each step, from step 1 on.

    What is logged at step 0 is not reported: it is what a task logs when it is done.

    Args:
        tracker: gets everything.
        trial: of the search.
        objective: the metric to report.
    """

    def __init__(self, tracker: Any, trial: Trial, objective: str) -> None:
        self._tracker, self._trial, self._objective = tracker, trial, objective

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep numbers, report the objective.

        Raises:
            JobPrunedError: when the job is not worth going on with.
        """
        self._tracker.log_metrics(metrics, step=step)
        if step < 1 or self._objective not in metrics:
            return
        self._trial.report(metrics[self._objective], step)
        if self._trial.should_prune():
            self._trial.set_user_attr("pruned", step)
            raise JobPrunedError(f"{self._objective} {metrics[self._objective]:.4g} at step {step}")


def reporting(tracker: Any) -> Any:
    """Return the tracker, inside a search with a pruner as one that reports.

    Args:
        tracker: see `irdream.tracking.Tracker`.
    """
    trial_id = os.environ.get(VARIABLE)
    if trial_id is None:
        return tracker
    import optuna

    hydra = HydraConfig.get()
    chosen = OmegaConf.to_container(hydra.sweeper, resolve=True)
    assert isinstance(chosen, dict)
    settings = Settings(**{str(k): v for k, v in chosen.items() if not str(k).startswith("_")})
    root = Path(hydra.runtime.cwd)
    place = place_of(settings.study_name, settings.storage, sweep_dir=hydra.sweep.dir, root=root)
    with place.lock():
        study = optuna.load_study(
            study_name=place.name, storage=place.connect(), pruner=make_pruner(settings)
        )
    objective = study.user_attrs["objectives"][0][0]
    return Reporting(tracker, optuna.trial.Trial(study, int(trial_id)), objective)
