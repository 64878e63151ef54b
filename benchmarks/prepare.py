"""How long the log-mels of a training part take:  python -m benchmarks.prepare /data/IRMAS cache

Prints {"seconds": ..., "excerpts": ...} of making them as `task=train` does before its first epoch:
decoding, analyzing, packing. A cache that has them opens at once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.problems import random_recognizer
from benchmarks.report import count, parser
from irdream import runtime
from irdream.datasets.cache import log_mels
from irdream.datasets.irmas import Irmas


def main(arguments: Sequence[str] | None = None) -> float:
    """Measure and print; return the seconds."""
    options = _options(arguments)
    runtime.keep_memory()
    runtime.set_threads(options.threads)
    recognizer = random_recognizer("han2016", runtime.choose_device(options.device))
    dataset = Irmas(root=options.root, official_counts=False)
    began = time.perf_counter()
    excerpts = dataset.part("training", sample_rate_hz=recognizer.sample_rate_hz)
    packed = log_mels(
        excerpts,
        recognizer.frontend,
        device=recognizer.device,
        cache_dir=options.cache,
        workers=options.workers,
    )
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": round(seconds, 3), "excerpts": len(packed)}))
    return seconds


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("prepare", __doc__)
    made.add_argument("root", type=Path, help="of a tree like that of IRMAS")
    made.add_argument("cache", type=Path, help="folder of log-mels")
    made.add_argument("--workers", type=count, help="that decode; by default one for each core")
    return made.parse_args(arguments)


if __name__ == "__main__":
    main()
