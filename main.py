"""irdream's command line:  python main.py task=dream target=flute  (--help shows the rest).

Hydra composes conf/ with what was typed; here the result is checked, the run opened, the task
built and called. Nothing heavy is imported before the configuration is known to be good, so
that --help and a typo are answered at once.
"""

import inspect
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
ON_CTRL_C = signal.getsignal(signal.SIGINT)
if __name__ == "__main__" and ON_CTRL_C is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # in imports, which would end in a traceback
os.environ["HYDRA_FULL_ERROR"] = "1"  # lets Hydra's errors come to main(), which says them
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # or threads wait for each other on a busy machine

try:
    import hydra
except ModuleNotFoundError as error:
    sys.exit(
        f"error: {sys.executable} has no {error.name}; expected the project's environment: "
        "`make demo` sets it up, `source .venv/bin/activate` enters it"
    )
from hydra.core.hydra_config import HydraConfig  # noqa: E402
from hydra.types import RunMode  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from omegaconf import DictConfig, OmegaConf  # noqa: E402

from hydra_plugins.irdream import _pruning as pruning  # noqa: E402
from hydra_plugins.irdream._words import as_grammar  # noqa: E402
from irdream.cli import command  # noqa: E402
from irdream.processes import Interrupted, interrupt, stopping  # noqa: E402
from irdream.sweeps import sweep  # noqa: E402
from irdream.sweeps.job import Job  # noqa: E402

CONF = Path(__file__).resolve().parent / "conf"
MLFLOW = "irdream.tracking.MlflowTracker"
NO_TRACKER = {"_target_": "irdream.tracking.NullTracker"}
jobs: list[Job] = []  # of this process


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(config: DictConfig) -> dict[str, float]:
    """Run one job; a single one ends the program with one line on an error, a sweep goes on."""
    hydra_config = HydraConfig.get()
    os.chdir(hydra_config.runtime.cwd)  # also with hydra.job.chdir paths mean where it was typed
    began = time.perf_counter()
    in_sweep = hydra_config.mode != RunMode.RUN
    typed: Any = OmegaConf.to_container(hydra_config.overrides.task)  # ${} as it was typed
    job = Job(typed, hydra_config.runtime.output_dir)
    of_sweep = sweep.current() if in_sweep else None
    if in_sweep:
        job.number = int(hydra_config.job.num)
        job.sweep = of_sweep.process if of_sweep else ""
        job.sweep_folder = of_sweep.folder if of_sweep else os.path.abspath(hydra_config.sweep.dir)
    jobs.append(job)
    try:
        job.write()
        job.metrics = perform(config, job, of_sweep)
        job.status = "finished" if job.status == "running" else job.status
    except pruning.JobPrunedError as reason:
        job.status, job.error = "pruned", str(reason)
    except Exception as error:
        job.status = "failed"
        job.error = command.line(error, trust=config.trust)
        if config.debug is True or (job.error is None and not in_sweep):
            raise
        if job.error is None:
            job.error = f"{type(error).__name__}: {error}".splitlines()[0]
            traceback.print_exc()
        print(job.error, file=sys.stderr)
        if not in_sweep or config.sweep.stop_on_failure:
            sys.exit(1)
    finally:
        job.seconds = time.perf_counter() - began
        job.release()
    return job.metrics


def perform(config: DictConfig, job: Job, of_sweep: sweep.Sweep | None) -> dict[str, float]:
    """Check the configuration, open the run, build the task, call it."""
    command.prepare(config, job.overrides)
    command.check(config)
    sweep.choose_store(config, job.overrides, of_sweep)
    signed = sweep.signature(config) if of_sweep and of_sweep.parent else None
    if of_sweep and signed and not config.sweep.force and of_sweep.leaves_out(signed, job):
        return job.metrics
    with stopping() as signals:  # half an import of torch would break what ends a sweep
        from irdream import runtime
        from irdream.progress import Stopwatch
    if signals:
        raise Interrupted(number=signals[0])

    stopwatch = Stopwatch(started=STARTED if of_sweep is None else None)
    threads = runtime.set_threads(config.threads)
    runtime.set_seed(config.seed)
    runtime.keep_memory()
    stopwatch.seconds["start-up"] = stopwatch.total()
    output = job.claim()
    with stopwatch("start-up" if len(jobs) == 1 else "tracking"):  # the first imports MLflow
        tracker = open_tracker(NO_TRACKER if config.info else config.tracker)
    with tracker:
        device = runtime.choose_device(config.device)
        with stopwatch("tracking"):
            tags = of_sweep.tags(signed) if of_sweep else {}
            job.open(tracker, tags, of_sweep.words if of_sweep else ())
            tracker.log_params(OmegaConf.to_container(config, resolve=True))
            tracker.set_tags({"irdream.device": str(device), "irdream.threads": str(threads)})
            tracker.log_text(OmegaConf.to_yaml(config), "config/config.yaml")
        with stopwatch("start-up"):
            task = instantiate(config.task, _convert_="all")
            only: dict[str, Any] = {"info": command.check_info(task)} if config.info else {}
            if "command" in inspect.signature(task.func).parameters:
                only["command"] = list(job.overrides)
        told = output.watching(pruning.reporting(tracker))  # a search may stop it by what it logs
        try:
            metrics = task(tracker=told, output_dir=job.folder, stopwatch=stopwatch, **only)
        except pruning.JobPrunedError:
            tracker.close("KILLED")
            raise
        with stopwatch("tracking"):
            tracker.log_metrics({"time/total_seconds": stopwatch.total()})
            tracker.close()
    job.phases = stopwatch.seconds
    if not config.info:
        print(f"time: {stopwatch.summary()}\nfiles: {job.folder}")
        if "index.html" in output.kept:
            print(f"listen: {job.folder / 'index.html'}")
    return metrics


def open_tracker(config: Any) -> Any:
    """Return a tracker; MLflow's, which takes 2 s, is opened beside the first steps."""
    if config["_target_"] != MLFLOW or "mlflow" in sys.modules:
        return instantiate(config)
    from irdream.tracking.tracker import BackgroundTracker

    return BackgroundTracker(lambda: instantiate(config))


def main() -> None:
    """Answer errors in one line; say by the exit status whether a job failed."""
    if sys.stdout:  # which may be closed
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as stderr is
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, ON_CTRL_C)
    try:
        command.check_flags(sys.argv[1:])
        words = command.flags_first(command.without_files(sys.argv[1:]))
        sys.argv[1:] = as_grammar(words)
        run()
    except KeyboardInterrupt as error:
        kept = "; ".join(filter(None, [str(error), sweep.interrupt()]))
        print("interrupted" + (f": {kept}" if kept else ""), file=sys.stderr)
        sys.exit(128 + getattr(error, "number", signal.SIGINT))
    except SystemExit as end:
        if end.code == 1:  # a job failed, and no other was to be begun
            sweep.end()
        raise
    except Exception as error:
        sweep.end()
        line = command.line(error)
        if line is None or "debug=true" in sys.argv:
            raise
        sys.exit(line)
    if any(job.status == "failed" for job in jobs) or sweep.ending.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
