"""The settings below `hydra.sweeper` in conf/hydra/sweeper/optuna.yaml, checked.

Hydra imports every module of its plugins at start-up, so nothing here or beside it imports
optuna before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from irdream.errors import InputError
from irdream.measures.table import SEARCHED

Direction = Literal["maximize", "minimize"]
HEADLINES: dict[str, dict[str, Direction]] = {  # of each task
    "dream": {SEARCHED: "maximize"},
    "evaluate": {"eval/micro_f1": "maximize"},
    "train": {"val/loss": "minimize"},
}


@dataclass(frozen=True)
class Settings:
    """How to search; conf/hydra/sweeper/optuna.yaml says what each key means.

    Raises:
        InputError: on a value that cannot be used.
    """

    trials: int = 20
    n_jobs: int | None = None
    objectives: Mapping[str, Direction] | None = None
    study_name: str | None = None
    storage: str | None = None
    sampler: str | Mapping[str, Any] = "tpe"
    seed: int | None = 0
    pruner: str | Mapping[str, Any] | None = None
    take_over: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _whole("trials", self.trials, at_least=1)
        if self.n_jobs is not None:
            _whole("n_jobs", self.n_jobs, at_least=1)
        if self.seed is not None:
            _whole("seed", self.seed, at_least=0)
        if self.objectives is not None:
            _check_objectives(self.objectives)
        if not isinstance(self.params, Mapping):
            raise InputError(
                f"hydra.sweeper.params={self.params!r}; expected keys with what to search, "
                "such as dream.step_size: interval(0.05,2)"
            )
        if self.pruner is not None and len(self.objectives or ()) > 1:
            raise InputError(
                f"hydra.sweeper.pruner={self.pruner!r} with {len(self.objectives or ())} "
                "objectives; expected one objective, or pruner=null"
            )


def objectives_of(settings: Settings, task: str | None) -> dict[str, Direction]:
    """Return the metrics to optimize and their directions; by default the task's headline.

    Args:
        settings: of the search.
        task: the choice of the config group `task`, if there is one.

    Raises:
        InputError: when none are set and the task has no headline.
    """
    objectives = settings.objectives or HEADLINES.get(task or "")
    if not objectives:
        raise InputError(
            f"hydra.sweeper.objectives is not set, and task={task} has no headline; expected "
            "metrics of the task, such as {dream/wav_at_0.9: maximize, dream/rmse_db: minimize}"
        )
    return dict(objectives)


def batch_size(settings: Settings, launcher: Mapping[str, Any]) -> int:
    """Return how many jobs to propose at once: `n_jobs`, else what the launcher runs at once.

    Slurm's `array_parallelism` is no such number: it is a limit, a cluster may run fewer, and a
    batch that waits for its slowest job is better chosen by who knows the cluster.
    """
    if settings.n_jobs is not None:
        return settings.n_jobs
    at_once = launcher.get("n_jobs")  # of joblib
    if not at_once:
        return 1
    from joblib import effective_n_jobs

    return effective_n_jobs(at_once)


def check_targets(name: str, node: Any, *, trusted: Sequence[str], typed: Sequence[str]) -> None:
    """Check that a yaml calls only optuna, a trusted package, or what was typed.

    Args:
        name: of the setting.
        node: its plain value.
        trusted: packages; see `trust` in conf/config.yaml.
        typed: overrides on the command line, which are trusted.

    Raises:
        InputError: on any other `_target_`.
    """
    if isinstance(node, list):
        for value in node:
            check_targets(name, value, trusted=trusted, typed=typed)
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key != "_target_":
            check_targets(name, value, trusted=trusted, typed=typed)
        elif str(value).partition(".")[0] not in ("optuna", *trusted) and not any(
            str(value) in line for line in typed
        ):
            raise InputError(
                f"hydra.sweeper.{name}: {value} is not trusted; expected something in optuna; "
                f"to allow it add 'trust=[{str(value).partition('.')[0]}]'"
            )


def _whole(name: str, value: object, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise InputError(
            f"hydra.sweeper.{name}={value!r}; expected a whole number, at least {at_least}"
        )


def _check_objectives(objectives: object) -> None:
    if not isinstance(objectives, Mapping) or not objectives:
        raise InputError(
            f"hydra.sweeper.objectives={objectives!r}; "
            "expected metrics with directions, such as {dream/wav_at_0.9: maximize}"
        )
    for metric, direction in objectives.items():
        if direction not in get_args(Direction):
            raise InputError(
                f"hydra.sweeper.objectives: {metric}: {direction!r}; expected maximize or minimize"
            )
