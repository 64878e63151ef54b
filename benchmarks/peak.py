"""How much memory one run takes, in a fresh process:  python -m benchmarks.peak irdream 88

Prints {"megabytes": ...}: what two steps of a contender add to the largest size that the process
ever had, after one step with a single item (libraries loaded, the first workspaces allocated). On
CUDA: the most that torch had allocated beyond what it had before.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import problems
from benchmarks.contenders import CONTENDERS
from benchmarks.report import count, wait_for
from irdream import runtime


def main(arguments: Sequence[str] | None = None) -> float:
    """Measure and print; return the MB."""
    options = _options(arguments)
    runtime.set_threads(options.threads)
    device = runtime.choose_device(options.device)
    recognizer = problems.random_recognizer(options.model, device)
    one, problem = (problems.random_problem(recognizer, n) for n in (1, options.items))
    build = CONTENDERS[options.contender]
    build(one)(1)
    run = build(problem)
    before = _largest(device)
    run(2)
    megabytes = round((_largest(device) - before) / 1e6, 1)
    print(json.dumps({"megabytes": megabytes}))
    return megabytes


def _largest(device: torch.device) -> int:
    """Return the largest size so far in bytes."""
    wait_for(device)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":  # where ru_maxrss begins at the size of the process that started us
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("items", type=count)
    parser.add_argument("--model", default="han2016", choices=problems.MODELS)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, mps")
    parser.add_argument("--threads", type=count, help="by default one for each core")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
