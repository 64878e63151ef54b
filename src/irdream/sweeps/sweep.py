"""A sweep as a whole: its parent run, the jobs that are done already, the table at its end.

The end of the sweep reads the files that its jobs leave (`irdream.sweeps.job`); the parent run is
found through an environment variable, which launchers hand on. A job is done already where one of
its signature is: the configuration of its task, with the content of all that it names, be it files,
folders, checkpoints or code (`irdream.fingerprint`). Nothing heavy is imported here.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from omegaconf import DictConfig, OmegaConf, open_dict

from irdream import processes
from irdream.errors import InputError
from irdream.files import content_of, pitched, remember_in
from irdream.fingerprint import code_of, fingerprint_of
from irdream.measures.table import HEADLINES, METRICS, UNCHANGED
from irdream.sweeps.job import ELSEWHERE, STATUSES, Job, OutputFolder, forget_jobs, read_jobs

VARIABLE = "IRDREAM_SWEEP"
SEARCH = "hydra_plugins.irdream.optuna_sweeper.OptunaSweeper"
FOLDER, EXPERIMENT = "mlruns", "irdream"  # where nothing is said
_ADDRESS = re.compile(r"[a-z][\w+.\-]+:.*|databricks", re.IGNORECASE)  # C:\runs is none
_IGNORED = {
    "MLFLOW_RUN_ID": "each run is a new one",
    "MLFLOW_EXPERIMENT_ID": "type tracker.experiment=NAME, or set MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_REGISTRY_URI": "checkpoints are registered where the runs are",
}

# What does not change what a job finds; left out wherever it stands.
NOT_SIGNED = {
    "device", "threads", "store", "server", "cache_dir", "debug", "tracker", "sweep", "info",
}  # fmt: skip
RENDERED = {"SoundFont": "root", "Notes": "rendered"}  # folders of music, which are caches
NO_INPUT = {"target", "publish"}  # words, and what is written


@dataclass
class Sweep:
    """What the jobs of a sweep share; travels in the environment as JSON."""

    name: str  # the tag of its runs
    folder: str  # below it stand the jobs' folders
    parent: str | None = None  # the parent run; None without a store
    experiment: str = ""
    words: list[str] = field(default_factory=list)  # what was typed
    root: str = ""  # of the store
    server: str | None = None
    info: bool = False
    process: str = ""  # what marks the process that holds it
    is_search: bool = False  # whether it needs the metrics of every job

    def store(self) -> Any:
        from irdream.tracking.store import open_store

        return open_store(root=Path(self.root), uri=self.server)

    def tags(self, signed: str | None) -> dict[str, str]:
        """Return the tags by which a job's run is found, by its sweep and by its signature."""
        parent = {"mlflow.parentRunId": self.parent, "irdream.signature": signed}
        own = {"irdream.sweep": self.name, "irdream.sweep_process": self.process}
        return own | {key: value for key, value in parent.items() if value}

    def leaves_out(self, signed: str, job: Job) -> bool:
        """Say whether to skip a job: one of its signature has finished, or runs elsewhere."""
        from irdream.tracking.sweeps import find_job

        found = find_job(store := self.store(), self.experiment, signed)
        if found is None or (self.is_search and found.status == "running"):
            return False
        self.take_over(job, found, store)
        if job.status == ELSEWHERE:
            print(f"job {job.number} runs in {found.process} already: left to it", flush=True)
        elif job.files != job.folder:
            job.claim()
        return True

    def take_over(self, job: Job, found: Any, store: Any) -> None:
        """Copy the result of a run into a job; put a finished run below this sweep."""
        from irdream.tracking.sweeps import adopt_job

        job.run_id, job.found_in, job.metrics = found.run_id, found.folder, found.metrics
        job.status = {"finished": "skipped", "running": ELSEWHERE}.get(found.status, "failed")
        job.error = f"failed in {found.process}" if job.status == "failed" else None
        if job.status == "skipped" and self.parent is not None:
            adopt_job(store, found.run_id, self.parent, self.name)


@dataclass
class Ending:
    """How the last sweep of this process ended."""

    jobs: list[Job] = field(default_factory=list)
    is_open: bool = False
    output: OutputFolder | None = None

    @property
    def failed(self) -> int:
        return sum(job.status in ("failed", "killed") for job in self.jobs)


ending = Ending()


def begin(config: DictConfig) -> Sweep:
    """Open the parent run of a multirun, and pass it to the jobs in the environment."""
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    overrides: Any = OmegaConf.to_container(config.hydra.overrides.task)  # ${} as it was typed
    sweep = Sweep(name=folder.name, folder=str(folder), info=config.info, words=overrides)
    sweep.process, sweep.is_search = processes.mark(), config.hydra.sweeper._target_ == SEARCH
    ending.output = OutputFolder(folder, key="hydra.sweep.dir", kind="sweep")
    try:
        ending.output.claim()
    except InputError:
        if not sweep.is_search:  # several processes may share a study
            raise
    if not sweep.is_search:  # a search may be resumed: its sweeper decides
        forget_jobs(folder)
    if not sweep.info and str(config.tracker.get("_target_", "")).endswith("MlflowTracker"):
        from irdream.tracking.sweeps import open_sweep

        choose_store(config, overrides)
        sweep.root, sweep.server = str(Path(config.store).expanduser().absolute()), config.server
        sweep.experiment = str(config.tracker.experiment)
        sweep.parent, sweep.name = open_sweep(
            sweep.store(),
            sweep.experiment,
            folder.name,
            signature=None if config.sweep.force else signature_of_sweep(config),
            tags={"irdream.overrides": " ".join(overrides)},
        )
    os.environ[VARIABLE] = json.dumps(asdict(sweep))
    ending.jobs, ending.is_open = [], True
    atexit.register(end, killed=True)
    return sweep


def current() -> Sweep | None:
    """Return the sweep that this process or the one that started it has begun."""
    text = os.environ.get(VARIABLE)
    return Sweep(**json.loads(text)) if text else None


def end(*, killed: bool = False) -> None:
    """Print the table of jobs, keep the overview with the parent run, and close it."""
    sweep = current()
    if sweep is None or not ending.is_open:
        return
    ending.is_open = False
    os.environ.pop(VARIABLE)
    try:
        _end(sweep, killed)
    finally:
        if ending.output is not None:
            ending.output.release()


def interrupt() -> str:
    """End a sweep that is interrupted; say what is kept of it and how to resume."""
    sweep = current()
    if sweep is None or not ending.is_open:
        return ""
    end(killed=True)
    if not any(job.status in ("finished", "skipped") for job in ending.jobs):
        return "no job was finished"
    kept = f"finished jobs are kept in {sweep.folder}"
    is_known = sweep.parent is not None and "sweep.force=true" not in sweep.words
    return f"{kept}; type the same line again, and they are skipped" if is_known else kept


def _end(sweep: Sweep, killed: bool) -> None:
    ending.jobs, damaged = read_jobs(Path(sweep.folder), sweep=sweep.process)
    if sweep.info:
        return
    if sweep.parent is None:
        print("\n".join([table(ending.jobs), *damaged]), flush=True)
        return
    from irdream.sweeps.overview import main_metric
    from irdream.tracking.sweeps import close_sweep, how_to_compare, read_job

    store = sweep.store()
    for job in ending.jobs:  # what became of those that were left to another process
        if job.status == ELSEWHERE and job.sweep == sweep.process and job.run_id is not None:
            found = read_job(store, job.run_id)
            if found.status != "running":
                sweep.take_over(job, found, store)
                job.write()
    try:
        print("\n".join([table(ending.jobs), *damaged]), flush=True)
        if ending.jobs:
            _keep_overview(sweep, store)
    finally:
        failed = ending.failed or not ending.jobs
        status = "KILLED" if killed else "FAILED" if failed else "FINISHED"
        close_sweep(store, sweep.parent, status)
    if ending.jobs:
        root, metric = Path(sweep.root), main_metric(ending.jobs)
        is_loss = metric is not None and METRICS[metric].direction == "minimize"
        page = how_to_compare(
            store, sweep.parent, sweep.name, metric, ascending=is_loss, root=root, uri=sweep.server
        )
        print(f"compare them: {page}", flush=True)


def _keep_overview(sweep: Sweep, store: Any) -> None:
    """Write the overview and keep it, and a few numbers, with the parent run."""
    from irdream.sweeps.overview import write_overview
    from irdream.tracking.store import Point

    assert sweep.parent is not None
    for path in write_overview(Path(sweep.folder), sweep.name):
        store.log_file(sweep.parent, path, "")
        if path.name == "gallery.html":
            print(f"listen: {path}", flush=True)
    numbers = {"sweep/jobs": float(len(ending.jobs)), "sweep/failed": float(ending.failed)}
    now = int(time.time() * 1000)
    store.log(sweep.parent, points=[Point(name, v, now, 0) for name, v in numbers.items()])


def table(jobs: Sequence[Job]) -> str:
    """Return the table of jobs as text: overrides, status, time, main measures or the error."""
    if not jobs:
        return "sweep: no job was started"
    shared = set.intersection(*(set(job.overrides) for job in jobs))
    counts = {status: sum(job.status == status for job in jobs) for status in STATUSES}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    told = {x for job in jobs for x, value in job.metrics.items() if value or x != UNCHANGED}
    undefined = sorted(name for name in told if name.endswith("_undefined"))
    names = [name for name in (*HEADLINES, *undefined) if name in told]
    rows = [["job", "overrides", "status", "s", *names, ""]]
    for job in jobs:
        own = " ".join(word for word in job.overrides if word not in shared) or "(nothing swept)"
        measures = [f"{job.metrics[x]:.3g}" if x in job.metrics else "-" for x in names]
        seconds = f"{job.seconds:.1f}"
        rows.append([str(job.number), own, job.status, seconds, *measures, job.error or ""])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([f"sweep: {len(jobs)} job{'s' * (len(jobs) > 1)}, {counted}", *lines])


def choose_store(config: DictConfig, typed: Sequence[str], of_sweep: Any = None) -> None:
    """Take an address given as the store for the server; apply MLflow's variables.

    What is obeyed, and what is not, is printed; what was `typed` wins. A job's run goes where those
    `of_sweep` do, also on a machine with other variables. Raises InputError for two addresses, or
    one of files on another machine.
    """
    with open_dict(config):
        said = _obey_variables(config, {word.lstrip("+").partition("=")[0] for word in typed})
        if of_sweep is None:
            print(*said, sep="\n", end="\n" if said else "", file=sys.stderr, flush=True)
        elif of_sweep.parent:
            config.store, config.server = of_sweep.root, of_sweep.server
            if config.tracker.get("experiment") == EXPERIMENT:
                config.tracker.experiment = of_sweep.experiment


def _obey_variables(config: DictConfig, keys: set[str]) -> list[str]:
    """Set store, server and experiment by MLflow's variables; return the lines to be printed."""
    said = []
    uri, name = (os.environ.get(f"MLFLOW_{what}") for what in ("TRACKING_URI", "EXPERIMENT_NAME"))
    is_free = (config.store, config.server) == (FOLDER, None) and not keys & {"store", "server"}
    if uri and is_free:
        config.store = uri
        shown = re.sub(r"//[^/@]+@", "//", uri)
        said.append(f"MLFLOW_TRACKING_URI: the tracking store is {shown}")
    config.store, config.server = _settled(str(config.store), config.server)
    if "experiment" not in config.tracker:
        return said
    if name and config.tracker.experiment == EXPERIMENT and "tracker.experiment" not in keys:
        config.tracker.experiment = name
        said.append(f"MLFLOW_EXPERIMENT_NAME: the experiment is {name}")
    ignored = [variable for variable in _IGNORED if os.environ.get(variable)]
    return said + [f"{variable} is not obeyed: {_IGNORED[variable]}" for variable in ignored]


def _settled(store: str, server: str | None) -> tuple[str, str | None]:
    """Return the folder, and the server if there is one."""
    if _ADDRESS.fullmatch(store) and not os.path.isdir(store):
        if server:
            raise InputError(
                f"store={store} and server={server} are two addresses; expected one of them"
            )
        store, server = FOLDER, store
    if not server or not server.startswith("file:"):
        return store, server or None
    address = urlsplit(server)
    if address.netloc not in ("", "localhost"):
        raise InputError(f"store={server}; expected the path of a folder, or file:///FOLDER")
    return url2pathname(address.path), None


# When a job is the same as one before ---------------------------------------------------------


def signature(config: DictConfig) -> str:
    """Return a hash of all that decides a job's result.

    That is what its task is given, the seed, the content of files, folders and checkpoints that are
    named there, the code of irdream, and of packages that are named or trusted.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return _signature({"task": plain["task"], "seed": plain["seed"]}, plain)


def signature_of_sweep(config: DictConfig) -> str:
    """Return a sweep's signature: of the typed words in any order, and of the configuration."""
    plain: Any = OmegaConf.to_container(config)
    typed = plain.pop("hydra")["overrides"]["task"]
    places = {"store": config.store, "server": config.server, "cache_dir": config.cache_dir}
    return _signature([_signed_words(typed), plain], plain | places)


def _signature(given: Any, config: Mapping[str, Any]) -> str:
    remember_in(config.get("cache_dir"))
    written = [config[name] for name in ("store", "cache_dir") if config.get(name)]
    packages = {"irdream", *(config.get("trust") or ())}

    def behind(word: str) -> str | None:
        """Return a hash of the file, folder or checkpoint that a word names, if it names one."""
        word, semitones = pitched(word)
        path = os.path.expanduser(word)
        try:
            if word.startswith(("runs:/", "models:/")):
                from irdream.tracking import fetch_checkpoint

                path = fetch_checkpoint(
                    word, root=Path(config["store"]).expanduser(), uri_server=config["server"]
                )
            if word and os.path.exists(path):
                return content_of(path, written=written) + f"@{semitones:+g}" * bool(semitones)
        except InputError:
            pass  # the task says so
        except OSError:
            return secrets.token_hex()  # nobody knows
        if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", word):
            packages.add(word)
        return None

    return fingerprint_of([_signed(given, functools.cache(behind)), code_of(packages)])


def _signed(value: Any, behind: Callable[[str], str | None]) -> Any:
    """Return a configuration without what does not decide, files with their content, 1 for 1.0."""
    if isinstance(value, Mapping):
        left_out = NOT_SIGNED | {RENDERED.get(str(value.get("_target_")).rpartition(".")[2])}
        return {
            key: item if key in NO_INPUT else _signed(item, behind)
            for key, item in value.items()
            if key not in left_out
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_signed(item, behind) for item in value]
    if isinstance(value, str) and (content := behind(value)):
        return [value, content]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _signed_words(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides that decide something, in any order, each with its values."""
    found = []
    for word in sorted(overrides):
        key, _, values = word.lstrip("+~").partition("=")
        if key.split(".")[0] not in NOT_SIGNED:
            parts = [] if key in NO_INPUT else values.strip("[]").split(",")
            found.append([word, *(part.strip("'\"") for part in parts)])
    return found
