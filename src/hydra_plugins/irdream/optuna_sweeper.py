"""A Hydra sweeper that searches with Optuna: `hydra/sweeper=optuna`; see docs/search.md.

It has the keys of hydra-optuna-sweeper, whose release 1.3.0 pins optuna < 3 and fails with a stored
study. The first release that allows optuna >= 4 makes this file unnecessary. What it has besides:
`metric`, since jobs return named numbers; `pruner`; and a search resumes: `n_trials` counts all
trials of the study, and those whose process died are run again.

Values are proposed in batches, which Hydra's launcher runs. Hydra imports this module at start-up,
so optuna is imported where it is used.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Transformer
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.irdream._pruning import VARIABLE
from irdream.errors import InputError, nearest, told
from irdream.files import replacing
from irdream.measures.table import METRICS, SEARCHED
from irdream.sweeps.job import forget_jobs, record

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

RESULTS = "optimization_results.yaml"
SHARED = "outputs/studies.db"  # of studies that have a name
HEARTBEAT_SECONDS, GRACE_SECONDS = 10, 30  # a trial without a heartbeat for so long is dead
FAILURES = 3  # so many at first, and no success, and the search ends
log = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """Searches with Optuna; conf/hydra/sweeper/optuna.yaml has the keys, and what each means."""

    def __init__(self, **keys: Any) -> None:
        if type(keys["n_jobs"]) is int and keys["n_jobs"] < 0:  # joblib's -1: all processors
            from joblib import effective_n_jobs

            keys["n_jobs"] = effective_n_jobs(keys["n_jobs"])
        self.keys = SimpleNamespace(**keys)
        for key in ("n_trials", "n_jobs"):
            if type(keys[key]) is not int or keys[key] < 1:
                expected = "expected a whole number, at least 1"
                raise InputError(f"hydra.sweeper.{key}={keys[key]!r}; {expected}")

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Take what Hydra gives; raise InputError when Optuna is missing or too old."""
        try:
            from optuna.storages import RetryHeartbeatStaleTrialCallback  # noqa: F401  since 4.9
        except ImportError as error:
            raise InputError(
                "hydra/sweeper=optuna needs the package optuna, 4.9 or newer; "
                "pip install 'irdream[optuna]'"
            ) from error
        self.cfg, self.loader = config, hydra_context.config_loader
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> dict[str, Any]:
        """Search and return the results; raise InputError when no trial succeeded."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.fixed, self.space = read_space(self.keys.params, arguments, self.loader)
        self.objectives = self._objectives()
        if self.cfg.get("info"):
            trial = optuna.create_study().ask(self.space)
            self.launcher.launch([self._overrides(trial)], initial_job_idx=0)
            return {}
        folder = Path(self.cfg.hydra.sweep.dir)
        self.place = Place(self.cfg.hydra, self.keys.study_name, self.keys.storage)
        self.study = self._open(folder)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.cfg, folder / "multirun.yaml")
        self._run(folder)
        found = self._write_results(folder)
        counts = ", ".join(f"{count} {state}" for state, count in found["trials"].items())
        print(f"study {self.place}: {counts}; {folder / RESULTS}", flush=True)
        for best in found["solutions"]:
            values = ", ".join(f"{name} {value:.4g}" for name, value in best["values"].items())
            print(f"best: trial {best['trial']}, {values}: {best['command']}", flush=True)
        if not found["solutions"]:
            reasons = [trial.user_attrs.get("reason") for trial in self.study.trials]
            first = next(filter(None, reasons), "all were interrupted")
            raise InputError(f"no trial of study {self.place.name!r} succeeded; first: {first}")
        return found

    def _objectives(self) -> dict[str, Any]:
        """Return the metrics with their directions; by default the task's, which way is better."""
        task = self.cfg.hydra.runtime.choices.get("task")
        metrics, directions = self.keys.metric or SEARCHED.get(task) or [], self.keys.direction
        metrics = [metrics] if isinstance(metrics, str) else metrics
        if directions is None:
            directions = [METRICS[name].direction for name in metrics if name in METRICS]
        directions = [directions] if isinstance(directions, str) else directions
        most = len(metrics) if self.keys.pruner is None else 1
        are_known = set(directions) <= {"minimize", "maximize"}
        if not 0 < len(metrics) == len(directions) <= most or not are_known:
            raise InputError(
                f"hydra.sweeper.metric={self.keys.metric} and direction={self.keys.direction} with "
                f"task={task}; expected a metric of the task, such as dream/rmse_db, and minimize "
                "or maximize, or lists of them as long; one alone with a pruner"
            )
        return dict(zip(metrics, directions, strict=True))

    def _open(self, folder: Path) -> Study:
        """Create the study, or open the one of this name, which must be of the same search."""
        import optuna

        if isinstance(self.keys.sampler, str):
            expected = f"expected hydra/sweeper/sampler={self.keys.sampler}"
            raise InputError(f"hydra.sweeper.sampler={self.keys.sampler}; {expected}")
        kinds = {  # bounds may change while a study goes on
            key: re.sub(r"(high|low|step)=[^,)]*,? ?", "", str(distribution))
            for key, distribution in self.space.items()
        }
        about = {"objectives": [*map(list, self.objectives.items())], "space": kinds}
        with self.place.held():
            study = optuna.create_study(
                storage=self.place.connect(),
                study_name=self.place.name,
                directions=list(self.objectives.values()),
                sampler=instantiate(self.keys.sampler, _convert_="all"),
                load_if_exists=True,
            )
            if not study.user_attrs and not study.get_trials(deepcopy=False):
                study.set_user_attr("search", {**about, "fixed": self.fixed})
                forget_jobs(folder)
        before = study.user_attrs.get("search", {})
        for key, wanted in about.items():
            if before.get(key) != wanted:
                raise InputError(
                    f"study {self.place} has another {key.rstrip('s')}: {before.get(key)}; "
                    f"expected {wanted}, or another hydra.sweeper.study_name"
                )
        if before["fixed"] != self.fixed:
            began = " ".join(before["fixed"]) or "the defaults"
            log.warning("study %s began with %s; do its values compare?", self.place.name, began)
        return study

    def _run(self, folder: Path) -> None:
        """Run batches until the study has enough trials; write the results so far after each."""
        from optuna.storages import fail_stale_trials

        known, errors = 0, []
        while True:
            with self.place.held():
                fail_stale_trials(self.study)
                trials = self.study.get_trials(deepcopy=False)
                if len(trials) > known:  # not of this process: propose nothing that they have
                    self.study.sampler.reseed_rng()
                left = self.keys.n_trials - sum(_states(trials).values())
                batch = [self.study.ask(self.space) for _ in range(min(self.keys.n_jobs, left))]
                known = len(self.study.get_trials(deepcopy=False))
            if not batch:
                break
            failed = self._run_batch(batch)
            errors += failed
            has_values = "complete" in self._write_results(folder)["trials"]
            is_lost = len(errors) >= FAILURES and not has_values
            if is_lost or len(failed) > self.keys.max_failure_rate * len(batch):
                raise InputError(
                    f"{len(errors)} jobs failed; first: {told(errors[0])}; correct it, or see "
                    "hydra.sweeper.max_failure_rate"
                ) from errors[0]
        if running := _states(trials).get("running"):
            said = "trials that others run: %d; if these are gone, type the same again in %d s"
            log.info(said, running, GRACE_SECONDS)

    def _run_batch(self, batch: Sequence[Trial]) -> list[Exception]:
        """Run the jobs of a batch, with a heartbeat for each; return what went wrong."""
        from optuna.storages import RetryHeartbeatStaleTrialCallback
        from optuna.storages._heartbeat import get_heartbeat_thread

        jobs = [self._overrides(trial) for trial in batch]
        for trial, job in zip(batch, jobs, strict=True):
            trial.set_user_attr("overrides", list(job))
            if self.keys.pruner is not None:
                job.append(f"+hydra.job.env_set.{VARIABLE}='{trial._trial_id}'")
        try:
            with contextlib.ExitStack() as stack:
                for trial in batch:
                    beat = get_heartbeat_thread(trial._trial_id, self.study._storage)
                    stack.enter_context(beat)  # type: ignore[arg-type]
                results = self.launcher.launch(jobs, initial_job_idx=batch[0].number)
        except Exception as error:  # the launcher's, such as a worker that was killed
            results = [error] * len(batch)
        except BaseException:
            for trial in batch:
                self._tell(trial, RuntimeError("interrupted"))
                ended = self.study.get_trials(deepcopy=False)[trial.number]
                RetryHeartbeatStaleTrialCallback()(self.study, ended)
            raise
        return [error for pair in zip(batch, results, strict=True) if (error := self._tell(*pair))]

    def _overrides(self, trial: Trial) -> list[str]:
        words = list(self.fixed)
        for key, value in trial.params.items():
            if isinstance(value, float) and getattr(self.space[key], "step", None):
                value = float(f"{value:.12g}")  # of a grid in round numbers
            words.append(f"{key}={value}")
        return words

    def _tell(self, trial: Trial, outcome: JobReturn | Exception) -> Exception | None:
        """Tell what came of a job; return what went wrong."""
        from optuna.trial import TrialState

        values, state, problem = None, None, None
        attrs = self.study.get_trials(deepcopy=False)[trial.number].user_attrs
        if "pruned" in attrs:
            state, said = TrialState.PRUNED, f"stopped at step {attrs['pruned']}"
        else:
            try:
                values = values_of(outcome, list(self.objectives))
                said = ", ".join(f"{value:.4g}" for value in values)
            except Exception as error:
                state, said, problem = TrialState.FAIL, f"failed: {told(error)}", error
                trial.set_user_attr("reason", told(error))
        self.study.tell(trial, values, state=state, skip_if_finished=True)
        log.info("trial %d: %s", trial.number, said)
        return problem

    def _write_results(self, folder: Path) -> dict[str, Any]:
        """Write the best trial, or those of several objectives that no other beats; return it."""
        study = self.study
        trials = study.get_trials(deepcopy=False)
        best = study.best_trials if "complete" in _states(trials) else []
        first = {tuple(trial.params.items()): trial for trial in reversed(best)}
        best = sorted(first.values(), key=lambda trial: trial.number)
        solutions = [
            {
                "trial": trial.number,
                "values": dict(zip(self.objectives, trial.values, strict=True)),
                "params": trial.params,
                "command": shlex.join(["python", sys.argv[0], *trial.user_attrs["overrides"]]),
            }
            for trial in (best if len(self.objectives) > 1 else best[:1])
        ]
        found = {"name": "optuna", "study": study.study_name, "trials": _states(trials)}
        found["solutions"] = solutions
        with replacing(folder / RESULTS) as file:
            text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1000)
            file.write(text.encode())
        return found


def values_of(result: JobReturn | Exception, metrics: Sequence[str]) -> list[float]:
    """Return a job's values of the metrics, or raise what went wrong."""
    returned = result if isinstance(result, Exception) else result._return_value
    if isinstance(returned, Exception):
        raise returned
    if not returned:  # a job that fails writes why, and returns
        reason = "the job returned no metrics"
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
            hydra = result.hydra_cfg.hydra  # type: ignore[union-attr]
            reason = json.loads(record(Path(hydra.sweep.dir), hydra.job.num).read_text())["error"]
        raise InputError(reason)
    for name in metrics:
        if name not in returned:
            names = ", ".join(returned)
            raise InputError(f"no metric {name!r}{nearest(name, returned)}; there are {names}")
        if not isinstance(returned[name], int | float) or not math.isfinite(returned[name]):
            raise InputError(f"{name} is {returned[name]}")
    return [float(returned[name]) for name in metrics]


def _states(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Count trials by state, without those that wait and those that were run again."""
    again = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    names = [trial.state.name.lower() for trial in trials if trial.number not in again]
    return {name: names.count(name) for name in sorted(set(names) - {"waiting"})}


def read_space(
    params: Mapping[str, Any], typed: Sequence[str], loader: ConfigLoader | None = None
) -> tuple[list[str], dict[str, BaseDistribution]]:
    """Return the fixed overrides, and Optuna's distribution of every other key; typed words win."""
    lines = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in params.items()]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*lines, *typed])
    last = {override.get_key_element(): override for override in overrides}
    searched = {key: override for key, override in last.items() if override.is_sweep_override()}
    if not searched:
        raise InputError(
            "nothing to search; expected at least one key=interval(a,b), key=range(a,b) or "
            "key=a,b,c on the command line or in hydra.sweeper.params"
        )
    fixed = [str(override.input_line) for key, override in last.items() if key not in searched]
    return fixed, {key: _distribution(override) for key, override in searched.items()}


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep: Any = override.value()
    is_numeric = override.is_range_sweep() or override.is_interval_sweep()
    tags, step = getattr(sweep, "tags", set()), getattr(sweep, "step", None)
    try:
        if tags - ({"log"} if is_numeric else set()):
            raise ValueError("expected no tag but log, and that on numbers")
        if isinstance(sweep, ChoiceSweep):  # in the order typed, also in shuffle(...)
            return CategoricalDistribution(tuple(dict.fromkeys(map(Transformer.str, sweep.list))))
        if not is_numeric:
            return CategoricalDistribution(tuple(override.sweep_string_iterator()))
        ends = [sweep.start, sweep.end if step is None else sweep.stop]
        if not all(map(math.isfinite, ends)) or step == 0:
            raise ValueError("expected finite numbers and a step other than 0")
        if step is not None and not (ends := sorted(sweep.range())):
            raise ValueError("expected at least one number, the end being left out")
        is_whole = all(isinstance(end, int) for end in ends)
        kind: Any = IntDistribution if is_whole else FloatDistribution
        more = {} if step is None else {"step": abs(step)}
        return kind(ends[0], ends[-1], log="log" in tags, **more)
    except ValueError as error:
        line = f"{override.input_line} cannot be searched: {told(error)}"
        raise InputError(line) from error


class Place:
    """Where a study is kept: an SQLite file, a journal file, or a database.

    By default that of the sweep's folder; studies with a name share a file, so that it finds them.
    """

    def __init__(self, hydra: Any, study_name: str | None, storage: str | None) -> None:
        folder = Path(hydra.runtime.cwd, hydra.sweep.dir)
        self.name = study_name or folder.name
        self.storage = storage or f"sqlite:///{SHARED if study_name else folder / 'study.db'}"
        kind, _, path = self.storage.partition("journal:" if "journal:" in self.storage else "///")
        is_file = kind in ("", "sqlite:") and path not in ("", ":memory:")
        self.file = Path(hydra.runtime.cwd, Path(path).expanduser()) if is_file else None

    def __str__(self) -> str:
        return f"{self.name} in {re.sub('//[^/@]+@', '//', self.storage)}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lock the study on this machine; turn errors of the storage into an InputError."""
        from filelock import FileLock
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        lock = contextlib.nullcontext()
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{self.file}.mutex")  # .lock is the name of the journal's own
        try:
            with lock:
                yield
        except (OptunaError, SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"study {self} cannot be used: {told(error)}; expected hydra.sweeper.storage as "
                "sqlite:///FILE, journal:FILE, or the address of a database"
            ) from error

    def connect(self) -> BaseStorage:
        """Open the storage, make it where it is missing; call it while it is held."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
        from optuna.storages.journal import JournalFileBackend
        from sqlalchemy import NullPool

        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage")  # `_run_batch` has threads for it
        if self.storage.startswith("journal:") and self.file:
            return JournalStorage(JournalFileBackend(str(self.file)))
        waits = {"timeout": 60.0} if self.file else {}  # for other processes to write
        return RDBStorage(
            f"sqlite:///{self.file}" if self.file else self.storage,
            engine_kwargs={"connect_args": waits, "poolclass": NullPool},
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
