"""What a sweep costs besides dreaming:  python -m benchmarks.sweep

A real multirun in one process, the paper's dream of 11 embedded excerpts toward a flute without a
judge (or the words that are typed) with a seed after the other, each with `tracker=none` and then
with `tracker=mlflow`. Two figures, over all jobs but the first two, which load everything:

- overhead: seconds of a job outside dreaming, making sound, drawing figures and tracking
  (checkpoint, data set, configuration, looking for finished jobs, the table); to stay below 0.5;
- tracking: seconds in the tracker as a share of the job's, as counted by the job itself, to stay
  below 0.05; and the ratio of the median jobs with and without it, which sees what counting does
  not.

It takes about two minutes on two cores and writes results/benchmark_sweep.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT, heading, parser, ratio, summary, write
from irdream import runtime

PHASES = ("dreaming", "sound", "figures", "tracking")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; return what was written."""
    options = _options(arguments)
    report = heading(runtime.choose_device(options.device), runtime.set_threads(options.threads))
    with tempfile.TemporaryDirectory(prefix="irdream-") as folder:
        jobs = _sweep(options, Path(folder))
    report |= {"words": options.words, **measure(jobs)}
    write(report, options.output)
    return report


def measure(jobs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the jobs' files tell, without the first of each kind.

    Args:
        jobs: the contents of job.json, in the order the jobs ran.
    """
    later = {
        kind: [job for job in jobs if f"tracker={kind}" in job["overrides"]][1:]
        for kind in ("mlflow", "none")
    }
    seconds = {kind: [job["seconds"] for job in found] for kind, found in later.items()}
    tracked = later["mlflow"]
    return {
        "jobs": len(jobs),
        "seconds": {kind: summary(values) for kind, values in seconds.items()},
        "phases": {
            name: summary([job["phases"].get(name, 0.0) for job in tracked]) for name in PHASES
        },
        "overhead_seconds": summary([_overhead(job) for job in tracked]),
        "tracking_share": summary([job["phases"]["tracking"] / job["seconds"] for job in tracked]),
        "ratio": ratio(seconds["mlflow"], seconds["none"]),
    }


def _overhead(job: dict[str, Any]) -> float:
    return job["seconds"] - sum(job["phases"].get(name, 0.0) for name in PHASES)


def _sweep(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run the multirun and return what its jobs wrote."""
    seeds = ",".join(map(str, range(options.rounds + 1)))
    words = [
        "-m", f"seed={seeds}", "tracker=none,mlflow", f"store={folder}/mlruns",
        f"hydra.sweep.dir={folder}/sweep", f"device={options.device}", *options.words,
    ]  # fmt: skip
    if options.threads is not None:
        words.append(f"threads={options.threads}")
    done = subprocess.run([sys.executable, "main.py", *words], cwd=ROOT, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())
    paths = sorted((folder / "sweep").glob("*/job.json"), key=lambda path: int(path.parent.name))
    return [json.loads(path.read_text()) for path in paths]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("sweep", __doc__, rounds=7)
    made.add_argument(
        "words", nargs="*", default=["experiment=paper_dream", "target=flute", "judge=null"]
    )
    return made.parse_args(arguments)


if __name__ == "__main__":
    main()
