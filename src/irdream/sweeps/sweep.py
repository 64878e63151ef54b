"""A sweep as a whole: its parent run, the jobs that are done already, the table at its end.

The end of the sweep is told from the files that its jobs leave (`irdream.sweeps.job`); the parent
run is found through an environment variable, which launchers hand on.

Nothing heavy is imported here: MLflow comes with the first run that is opened.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from irdream import processes
from irdream.errors import InputError
from irdream.files import replacing
from irdream.measures.table import UNCHANGED
from irdream.sweeps.job import ELSEWHERE, HEADLINES, STATUSES, Job, forget_jobs, read_jobs
from irdream.sweeps.output_folder import OutputFolder
from irdream.sweeps.signature import signature_of_sweep
from irdream.sweeps.store_choice import choose_store

VARIABLE = "IRDREAM_SWEEP"
SEARCH = "hydra_plugins.irdream.optuna_sweeper.OptunaSweeper"
OVERVIEW = "overview"  # the folder of a sweep's table, figures and gallery
OVERVIEW_FILES = ("jobs.csv", "heat_map.png", "curves.png", "gallery.html")


@dataclass
class Sweep:
    """What the jobs of a sweep share; travels in the environment as JSON.

    Attributes:
        name: the tag of its runs.
        folder: below it stand the jobs' folders.
        parent: the parent run; None without a store.
        experiment: the name of MLflow's experiment.
        words: what was typed.
        root, server: of the store.
        info: whether jobs only say what they would do.
        process: what marks the process that holds it.
        is_search: whether it needs the metrics of every job.
    """

    name: str
    folder: str
    parent: str | None = None
    experiment: str = ""
    words: list[str] = field(default_factory=list)
    root: str = ""
    server: str | None = None
    info: bool = False
    process: str = ""
    is_search: bool = False

    @property
    def place(self) -> dict[str, Any]:
        """Return where the store is, as the functions of `irdream.tracking` take it."""
        return {"root": Path(self.root), "uri": self.server}

    def leaves_out(self, signed: str, job: Job) -> bool:
        """Say whether a job of this signature finished before, or another process runs it."""
        from irdream.tracking.sweeps import find_job

        found = find_job(Path(self.root), self.experiment, signed, uri=self.server)
        if found is None or (self.is_search and found.status == "running"):
            return False
        self.take_over(job, found)
        if job.status == ELSEWHERE:
            print(f"job {job.number} runs in {found.process} already: left to it", flush=True)
        elif job.files != job.folder:
            job.claim()
        return True

    def take_over(self, job: Job, found: Any) -> None:
        """Tell of a job what came of it elsewhere; put its run below this sweep when it is done."""
        from irdream.tracking.sweeps import adopt_job

        job.run_id, job.found_in, job.metrics = found.run_id, found.folder, found.metrics
        job.status = {"finished": "skipped", "running": ELSEWHERE}.get(found.status, "failed")
        job.error = f"failed in {found.process}" if job.status == "failed" else None
        if job.status == "skipped" and self.parent is not None:
            adopt_job(found.run_id, self.parent, self.name, **self.place)


@dataclass
class Ending:
    """How the last sweep of this process ended."""

    jobs: list[Job] = field(default_factory=list)
    is_open: bool = False
    output: OutputFolder | None = None

    @property
    def failed(self) -> int:
        """Return how many jobs failed."""
        return sum(job.status in ("failed", "killed") for job in self.jobs)


ending = Ending()


def begin(config: DictConfig) -> Sweep:
    """Open the parent run of a multirun, and tell the jobs of it."""
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    overrides = list(config.hydra.overrides.task)
    sweep = Sweep(name=folder.name, folder=str(folder), info=config.info, words=overrides)
    sweep.process, sweep.is_search = processes.mark(), config.hydra.sweeper._target_ == SEARCH
    _take_folder(folder, may_share=sweep.is_search)
    if not sweep.info and str(config.tracker.get("_target_", "")).endswith("MlflowTracker"):
        from irdream.tracking.sweeps import open_sweep

        choose_store(config, overrides)
        sweep.root, sweep.server = str(Path(config.store).expanduser().absolute()), config.server
        sweep.experiment = str(config.tracker.experiment)
        sweep.parent, sweep.name = open_sweep(
            Path(sweep.root),
            sweep.experiment,
            folder.name,
            uri=sweep.server,
            signature=None if config.sweep.force else signature_of_sweep(config),
            tags={"irdream.overrides": " ".join(overrides)},
        )
    os.environ[VARIABLE] = json.dumps(asdict(sweep))
    ending.jobs, ending.is_open = [], True
    atexit.register(end, killed=True)
    return sweep


def _take_folder(folder: Path, *, may_share: bool) -> None:
    """Keep other sweeps out of the folder, but for searches, whose processes share a study.

    What jobs of earlier sweeps left to be told is forgotten; of a search the sweeper decides.
    """
    ending.output = OutputFolder(folder, key="hydra.sweep.dir", kind="sweep")
    try:
        ending.output.claim()
    except InputError:
        if not may_share:
            raise
    if not may_share:
        forget_jobs(folder)


def current() -> Sweep | None:
    """Return the sweep that this process or the one that started it has begun."""
    text = os.environ.get(VARIABLE)
    return Sweep(**json.loads(text)) if text else None


def tags(sweep: Sweep | None, signed: str | None) -> dict[str, str]:
    """Return what a job's run is tagged with, so that it is found by its sweep and again."""
    if sweep is None:
        return {}
    parent = {"mlflow.parentRunId": sweep.parent, "irdream.signature": signed}
    own = {"irdream.sweep": sweep.name, "irdream.sweep_process": sweep.process}
    return own | {key: value for key, value in parent.items() if value}


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
    for job in ending.jobs:
        _look_again(job, sweep)
    print("\n".join([table(ending.jobs), *damaged]), flush=True)
    if sweep.parent is None:
        return
    from irdream.tracking.sweeps import close_sweep

    try:
        _keep_overview(sweep)
    finally:
        failed = ending.failed or not ending.jobs
        status = "KILLED" if killed else "FAILED" if failed else "FINISHED"
        close_sweep(sweep.parent, status, **sweep.place)
    if ending.jobs:
        print(f"compare them: {_page(sweep)}", flush=True)


def _look_again(job: Job, sweep: Sweep) -> None:
    """See what became of a job that was left to another process."""
    if job.status != ELSEWHERE or job.sweep != sweep.process or job.run_id is None:
        return
    from irdream.tracking.sweeps import read_job

    found = read_job(job.run_id, **sweep.place)
    if found.status != "running":
        sweep.take_over(job, found)
        job.write()


# What is told of them -----------------------------------------------------------------------


def table(jobs: Sequence[Job]) -> str:
    """Return a line a job: what was swept, status, time, main measures or the error."""
    if not jobs:
        return "sweep: no job was started"
    shared = set.intersection(*(set(job.overrides) for job in jobs))
    counts = {status: sum(job.status == status for job in jobs) for status in STATUSES}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    undefined = {name for job in jobs for name in job.metrics if name.endswith("_undefined")}
    names = [name for name in (*HEADLINES, *sorted(undefined)) if _is_told(name, jobs)]
    rows = [["job", "overrides", "status", "s", *names, ""]]
    for job in jobs:
        own = " ".join(word for word in job.overrides if word not in shared) or "(nothing swept)"
        measures = [f"{job.metrics[k]:.3g}" if k in job.metrics else "-" for k in names]
        seconds = f"{job.seconds:.1f}"
        rows.append([str(job.number), own, job.status, seconds, *measures, job.error or ""])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join([f"sweep: {len(jobs)} jobs, {told}", *(line.rstrip() for line in lines)])


def _is_told(name: str, jobs: Sequence[Job]) -> bool:
    """Say whether some job has a metric; a count of what is left out, only where there is one."""
    values = [job.metrics[name] for job in jobs if name in job.metrics]
    return any(values) if name == UNCHANGED else bool(values)


def swept_keys(jobs: Sequence[Job]) -> list[str]:
    """Return the keys that differ between jobs, in the order they were typed."""
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if jobs else set()
    words = (word for job in jobs for word in job.overrides if word not in shared)
    return list(dict.fromkeys(word.lstrip("+~").partition("=")[0] for word in words))


def _page(sweep: Sweep) -> str:
    """Return how to open the page that compares the jobs, over what was swept."""
    from irdream.tracking.view import how_to_open, share_view

    assert sweep.parent is not None
    have = {name for job in ending.jobs for name in job.metrics}
    metrics = [name for name in HEADLINES if name in have]
    constant = [name for name in metrics if len({job.metrics.get(name) for job in ending.jobs}) < 2]
    view = share_view(
        sweep.parent,
        sweep.name,
        swept=swept_keys(ending.jobs),
        metrics=[name for name in metrics if name not in constant] + constant,
        **sweep.place,
    )
    return how_to_open(view, **sweep.place)


def write_overview(folder: Path, title: str) -> Path:
    """Write what compares a sweep's jobs, in place of what an earlier one left; return its folder.

    jobs.csv, a row a job; heat_map.png of the main measure over two swept values, numbers first;
    curves.png over the first that is a number; gallery.html, spectrograms and sounds.
    """
    from irdream.reports.figures import save_figure
    from irdream.reports.sweep_figures import heat_map_figure, sweep_curve_figure
    from irdream.sweeps import overview
    from irdream.sweeps.gallery import write_gallery

    found, into = overview.read_sweep(folder), folder / OVERVIEW
    into.mkdir(parents=True, exist_ok=True)
    for name in OVERVIEW_FILES:
        (into / name).unlink(missing_ok=True)
    jobs, metric = overview.table(found), overview.main_metric(found, HEADLINES)
    with replacing(into / "jobs.csv") as file:
        file.write(jobs.to_csv(index=False).encode())
    if metric is not None:
        numeric = [key for key in found.swept if found.is_numeric(key)]
        keys = [*numeric, *(key for key in found.swept if key not in numeric)]
        if len(keys) > 1:
            figure = heat_map_figure(jobs, keys[0], keys[1], metric)
            save_figure(figure, into / "heat_map.png")
        if numeric:
            others = [key for key in keys if key != numeric[0]]
            figure = sweep_curve_figure(jobs, numeric[0], metric, by=next(iter(others), None))
            save_figure(figure, into / "curves.png")
    if len(overview.dream_table(found)):
        write_gallery(found, into / "gallery.html", title=title)
    return into


def _keep_overview(sweep: Sweep) -> None:
    """Write the overview and keep it with the parent run."""
    from irdream.tracking.sweeps import log_sweep

    assert sweep.parent is not None
    if not ending.jobs:
        return
    numbers = {"sweep/jobs": float(len(ending.jobs)), "sweep/failed": float(ending.failed)}
    folder = write_overview(Path(sweep.folder), sweep.name)
    files = [folder / name for name in OVERVIEW_FILES if (folder / name).is_file()]
    log_sweep(sweep.parent, files, numbers, **sweep.place)
