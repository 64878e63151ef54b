"""What a job tells a search that may stop it: it reports what it logs.

A job may run in another process than the search, so it finds its trial in the study's storage: the
sweeper sets IRDREAM_TRIAL in the job's environment, the rest stands in Hydra's settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate

if TYPE_CHECKING:
    from optuna.trial import Trial

VARIABLE = "IRDREAM_TRIAL"


class JobPrunedError(Exception):
    """The search stops this job. It has noted that already, wherever this exception ends."""


class Reporting:
    """A tracker that also tells the search its metric at each step from 1 on.

    What is logged at step 0 is what a task logs when it is done.
    """

    def __init__(self, tracker: Any, trial: Trial, metric: str) -> None:
        self._tracker, self._trial, self._metric = tracker, trial, metric

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep numbers, report the metric; raise JobPrunedError when the job is to stop."""
        self._tracker.log_metrics(metrics, step=step)
        if step < 1 or self._metric not in metrics:
            return
        self._trial.report(metrics[self._metric], step)
        if self._trial.should_prune():
            self._trial.set_user_attr("pruned", step)
            raise JobPrunedError(f"{self._metric} {metrics[self._metric]:.4g} at step {step}")


def reporting(tracker: Any) -> Any:
    """Return the tracker, inside a search with a pruner as one that reports."""
    if VARIABLE not in os.environ:
        return tracker
    import optuna

    from hydra_plugins.irdream.optuna_sweeper import Place

    hydra = HydraConfig.get()
    place = Place(hydra, hydra.sweeper.study_name, hydra.sweeper.storage)
    pruner = instantiate(hydra.sweeper.pruner, _convert_="all")
    with place.held():
        study = optuna.load_study(study_name=place.name, storage=place.connect(), pruner=pruner)
    trial = optuna.trial.Trial(study, int(os.environ[VARIABLE]))
    return Reporting(tracker, trial, study.user_attrs["search"]["objectives"][0][0])
