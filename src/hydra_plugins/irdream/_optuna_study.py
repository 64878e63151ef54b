"""One search: what to try next, what came of it, and what to do about those that died.

Each trial remembers the process that runs it. When a study is opened again, the trials that a
process of this machine left running are told as failed, and the same values are tried again.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irdream import processes
from irdream.errors import InputError, nearest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

    from hydra_plugins.irdream._optuna_settings import Direction
    from hydra_plugins.irdream._optuna_space import Space
    from hydra_plugins.irdream._optuna_storage import Place

JOBS_WITHOUT_METRIC = 3  # after which a metric that none had is taken for a mistake
log = logging.getLogger(__name__)


@dataclass
class Search:
    """A study, and what it takes to go on with it.

    Attributes:
        study: Optuna's.
        place: where it is kept.
        space: what is searched.
        objectives: metrics and directions.
        trials: how many the study shall have.
        batch: how many jobs run at once.
        sampler: builds a sampler, given the number of trials there are.
    """

    study: Study
    place: Place
    space: Space
    objectives: Mapping[str, Direction]
    trials: int
    batch: int
    sampler: Callable[[int], BaseSampler]
    lacking: list[Mapping[str, object]] = field(default_factory=list)  # metrics of such jobs

    def left(self) -> int:
        """Return how many trials are missing; those that a dead process left do not count."""
        from optuna.trial import TrialState

        begun = [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state != TrialState.WAITING and not trial.user_attrs.get("abandoned")
        ]
        return max(0, self.trials - len(begun))

    def ask(self) -> list[Trial]:
        """Return the next batch of trials, empty when there are enough."""
        with self.place.lock():
            count = min(self.batch, self.left())
            self.study.sampler = self.sampler(len(self.study.get_trials(deepcopy=False)))
            return [self._ask() for _ in range(count)]

    def overrides(self, trial: Trial) -> list[str]:
        """Return what the trial's job is given, and keep it with the trial."""
        overrides = self.space.overrides(trial.params)
        trial.set_user_attr("overrides", overrides)
        return overrides

    def tell(
        self,
        trial: Trial,
        returned: object,
        folder: str | None = None,
        told: Path | None = None,
    ) -> None:
        """Tell what a job came to; what is no finite number for each objective is a failure.

        Args:
            trial: of the job.
            returned: its metrics, or the exception that it raised.
            folder: with its files.
            told: the file in which it told of itself.
        """
        from optuna.trial import TrialState

        stored = self.study.get_trials(deepcopy=False)[trial.number]
        if stored.state.is_finished():
            log.warning("trial %d was taken over by another process", trial.number)
            return
        if folder:
            trial.set_user_attr("folder", folder)
        if "pruned" in stored.user_attrs:
            self.study.tell(trial, state=TrialState.PRUNED)
            log.info("trial %d: stopped at step %s", trial.number, stored.user_attrs["pruned"])
            return
        reason = self._lack(returned)
        if not returned:
            reason = recorded_error(told) or reason
        if reason is not None:
            self.fail(trial, reason)
            return
        values = {name: float(returned[name]) for name in self.objectives}  # type: ignore[index]
        self.study.tell(trial, list(values.values()))
        log.info("trial %d: %s", trial.number, ", ".join(f"{k} {v:.4g}" for k, v in values.items()))

    def fail(self, trial: Trial, reason: str) -> None:
        """Tell that a trial came to nothing, and why."""
        from optuna.trial import TrialState

        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=TrialState.FAIL)
        log.info("trial %d failed: %s", trial.number, reason)

    def abandon(self, trials: Sequence[Trial]) -> None:
        """Tell that trials were interrupted; their values will be tried again."""
        from optuna.trial import TrialState

        for trial in trials:
            trial.set_user_attr("abandoned", True)
            self.study.tell(trial, state=TrialState.FAIL)
            if trial.params:
                self.study.enqueue_trial(trial.params)

    def release(self, *, take_over: bool) -> None:
        """Abandon the trials whose process is gone.

        Args:
            take_over: whether those count that another machine left running.
        """
        from optuna.trial import Trial, TrialState

        with self.place.lock():
            states = (TrialState.RUNNING,)
            running = self.study.get_trials(deepcopy=False, states=states)
            dead = [one for one in running if take_over or _is_gone(one)]
            self.abandon([Trial(self.study, one._trial_id) for one in dead])
        if dead:
            log.info("interrupted trials, run again: %d", len(dead))
        if others := len(running) - len(dead):
            log.info(
                "trials that others are running: %d; if their machine is gone, "
                "add hydra.sweeper.take_over=true",
                others,
            )

    def check_metrics(self) -> None:
        """Stop a search whose metric no job has.

        Raises:
            InputError: after three jobs, when none ever had it.
        """
        if len(self.lacking) < JOBS_WITHOUT_METRIC or self.complete():
            return
        there = sorted(set().union(*self.lacking))
        name = next((name for name in self.objectives if name not in there), None)
        if name is None:
            return
        raise InputError(
            f"hydra.sweeper.objectives: no job returned {name!r}{nearest(name, there)}; "
            f"expected one of {', '.join(there)}"
        )

    def complete(self) -> list[FrozenTrial]:
        """Return the trials that have values."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def jobs(self) -> list[tuple[str, str]]:
        """Return folder and sweep of the jobs of all trials."""
        attrs = [trial.user_attrs for trial in self.study.get_trials(deepcopy=False)]
        return [(str(one.get("folder")), processes.mark(one.get("process"))) for one in attrs]

    def _ask(self) -> Trial:
        trial = self.study.ask()
        trial.set_user_attr("process", processes.this_process())
        for parameter in self.space.searched:
            parameter.suggest(trial)
        return trial

    def _lack(self, metrics: object) -> str | None:
        if isinstance(metrics, Exception):
            return error_line(metrics)
        if not isinstance(metrics, Mapping) or not metrics:
            return "the job returned no metrics"
        for name in self.objectives:
            if name not in metrics:
                self.lacking.append(metrics)
                return f"no metric {name!r}{nearest(name, map(str, metrics))}"
            if not _is_finite(metrics[name]):
                return f"{name} is {metrics[name]}"
        return None


def open_study(
    place: Place, *, objectives: Mapping[str, Direction], space: Space, pruner: Any = None
) -> Study:
    """Create a study, or take up the one of that name.

    Args:
        place: where.
        objectives: metrics and directions.
        space: what is searched.
        pruner: of Optuna.

    Raises:
        InputError: when the storage cannot be used, or the study is of something else.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with place.lock(), place.explaining():
        study = optuna.create_study(
            storage=place.connect(),
            study_name=place.name,
            directions=list(objectives.values()),
            pruner=pruner,
            load_if_exists=True,
        )
        if not study.user_attrs and not study.get_trials(deepcopy=False):
            _describe(study, objectives, space)
    _compare(study, place, objectives, space)
    return study


def _describe(study: Study, objectives: Mapping[str, Direction], space: Space) -> None:
    """Keep with a study what it is of."""
    from optuna.exceptions import ExperimentalWarning

    study.set_user_attr("objectives", [list(pair) for pair in objectives.items()])
    study.set_user_attr("space", space.kinds)
    study.set_user_attr("fixed", space.fixed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives))


def _compare(study: Study, place: Place, objectives: Mapping[str, Direction], space: Space) -> None:
    """Check that a study is of the same."""
    wanted = {"objectives": [list(pair) for pair in objectives.items()], "space": space.kinds}
    for key, value in wanted.items():
        if study.user_attrs.get(key) != value:
            raise InputError(
                f"study {place.name!r} in {place.shown} has another {key.rstrip('s')}: "
                f"{study.user_attrs.get(key)}; expected {value}, or another "
                "hydra.sweeper.study_name"
            )
    if (before := study.user_attrs["fixed"]) != space.fixed:
        began = " ".join(before) or "the defaults"
        log.warning("study %s began with %s; do its values compare?", place.name, began)


def error_line(error: Exception) -> str:
    """Return an error in one line."""
    text = next(iter(str(error).splitlines()), "")
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def recorded_error(told: Path | None) -> str | None:
    """Return the error that main.py wrote of a job; there a job that fails returns."""
    if told is None:
        return None
    try:
        return json.loads(told.read_text(encoding="utf-8"))["error"]
    except (OSError, ValueError, KeyError):
        return None


def _is_gone(trial: FrozenTrial) -> bool:
    """Return whether the process that runs a trial is known to be gone."""
    mark, begun = trial.user_attrs.get("process"), trial.datetime_start
    return bool(mark and begun and processes.is_gone(mark, begun.timestamp()))


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False
