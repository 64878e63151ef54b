"""How long it takes to the first step:  python -m benchmarks.startup

Seconds from typing the paper's dream of 11 embedded excerpts toward a flute without a judge (or the
words that are given) until its first step begins, with and without the tracking store, and of
`python -c "import torch"`. They take turns, each in processes of their own; the ratio within a
round is what machines share.

It takes about a minute on two cores and writes results/benchmark_startup.json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.report import ROOT, heading, parser, ratio, summary, take_turns, write
from irdream import runtime

TORCH = "import torch; print('first step', flush=True)"
MAIN = """
import main
from irdream import progress

def begin(bar, *_):
    print("first step", flush=True)
    raise SystemExit

progress.DreamBar.__init__ = begin
main.main()
"""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; return what was written."""
    made = parser("startup", __doc__, rounds=5)
    made.add_argument(
        "words", nargs="*", default=["experiment=paper_dream", "target=flute", "judge=null"]
    )
    options = made.parse_args(arguments)
    device = runtime.choose_device(options.device)
    with tempfile.TemporaryDirectory(prefix="irdream-") as folder:
        words = [*options.words, f"device={options.device}", f"store={folder}/mlruns"]
        words += [f"threads={options.threads or 'null'}", f"hydra.run.dir={folder}/out"]
        contenders = {
            "import torch": partial(_seconds, TORCH),
            "tracker=mlflow": partial(_seconds, MAIN, *words),
            "tracker=none": partial(_seconds, MAIN, *words, "tracker=none"),
        }
        for contender in contenders.values():
            contender()  # renders the excerpts, makes the store, fills the system's caches
        found = take_turns(contenders, rounds=options.rounds)
    report = heading(device, runtime.set_threads(options.threads)) | {
        "words": options.words,
        "seconds": {name: summary(values) for name, values in found.items()},
        "ratio": {name: ratio(values, found["import torch"]) for name, values in found.items()},
    }
    write(report, options.output)
    return report


def _seconds(script: str, *words: str) -> float:
    """Return how long a process takes to its first line that says so."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        said = any(line == "first step\n" for line in process.stdout)
        taken = time.perf_counter() - began
    if not said:
        sys.exit(f"{' '.join(words)}: ended before its first step")
    return taken


if __name__ == "__main__":
    main()
