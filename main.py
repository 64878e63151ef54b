"""irdream's command line:  python main.py task=dream target=flute  (--help shows the rest).

Hydra composes conf/ with what was typed; here the result is checked, the run opened, the task
built and called. Nothing heavy is imported before the configuration is known to be good, so
that --help and a typo are answered at once.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
os.environ["HYDRA_FULL_ERROR"] = (
    "1"  # lets Hydra's errors come to main(), which says them in a line
)

import hydra  # noqa: E402
from hydra.core.hydra_config import HydraConfig  # noqa: E402
from hydra.types import RunMode  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from omegaconf import DictConfig, OmegaConf, open_dict  # noqa: E402

from irdream import command  # noqa: E402

CONF = Path(__file__).resolve().parent / "conf"
jobs: list[command.Job] = []  # of this process, for the end of a sweep


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(config: DictConfig) -> dict[str, float]:
    """Run one job; a single one ends the program with one line on an error, a sweep goes on."""
    job = command.Job(HydraConfig.get().overrides.task, HydraConfig.get().runtime.output_dir)
    jobs.append(job)
    try:
        job.metrics = perform(config, job)
        return job.metrics
    except Exception as error:
        job.error = command.line(error, conf=CONF)
        if config.debug or job.error is None:
            raise
        print(job.error, file=sys.stderr)
        if HydraConfig.get().mode == RunMode.RUN:
            sys.exit(1)
        raise


def perform(config: DictConfig, job: command.Job) -> dict[str, float]:
    """Check the configuration, open the run, build the task, call it."""
    command.check(config, typed=job.overrides)
    with open_dict(config):
        config.trust = command.trusted(config, typed=job.overrides)
    from irdream import runtime
    from irdream.stopwatch import Stopwatch

    stopwatch = Stopwatch(started=STARTED if len(jobs) == 1 else None)
    threads = runtime.set_threads(config.threads)
    runtime.set_seed(config.seed)
    runtime.keep_memory()
    tracker: Any = instantiate(config.tracker)
    stopwatch.seconds["start-up"] = stopwatch.total()
    with tracker:
        job.open(tracker, sweep=sweep_name())
        tracker.log_params(OmegaConf.to_container(config, resolve=True))
        device = runtime.choose_device(config.device)
        tracker.set_tags({"irdream.device": str(device), "irdream.threads": str(threads)})
        tracker.log_file(job.folder / ".hydra" / "config.yaml", "config")
        with stopwatch("start-up"):
            task = instantiate(config.task, _convert_="all")
        metrics = task(tracker=tracker, output_dir=job.folder, stopwatch=stopwatch)
        tracker.log_metrics({"time/total_seconds": stopwatch.total()})
        with stopwatch("tracking"):
            tracker.flush()
    print(f"time: {stopwatch.summary()}\nfiles: {job.folder}")
    return metrics


def sweep_name() -> str | None:
    """Return the name of the sweep that this job belongs to."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.RUN:
        return None
    return Path(hydra_config.sweep.dir).name


def main() -> None:
    """Answer errors in one line; tell a sweep's end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        line = command.line(error, conf=CONF)
        if line is None or "debug=true" in sys.argv:
            raise
        if not jobs:  # otherwise it was said when the job failed
            sys.exit(line)
    if len(jobs) > 1:
        from irdream.tracking import compare_url

        print(command.sweep_summary(jobs, compare_url))
    if any(job.error for job in jobs):
        sys.exit(1)


if __name__ == "__main__":
    main()
