"""How fast, small and good the dream engine is, beside other loops:  python -m benchmarks.dream

Parts (`--parts`), each with median and spread over rounds in which the contenders take turns in one
process (see `benchmarks.report`), and ratios to irdream within the same round:

    speed      item-steps per second (steps x items / seconds of a whole run) at several batch
               sizes: how it grows with the batch
    overhead   milliseconds a step beyond the network's own two passes, on a network that is a mean
               and a matrix, 11 items
    dropping   seconds until 88 dreams have probability 0.9, with finished items dropped or kept
    flops      FLOP/s of the network's passes over those of a 3072 x 3072 product in float32
    frontier   item-steps until 0.9 and the median change in dB, for fixed and adaptive steps

speed, overhead and flops take random weights and random log-mels of 128 x 43, the network
of Han et al. (2016) unless `--model` says otherwise; dropping and frontier take the shipped
checkpoint and the first second of excerpts of the embedded test part (rendered once, in a few
seconds), each with a wrong target. benchmarks/contenders.py says how each contender was set up.

All of it takes 10 to 12 minutes on two idle cores. It writes results/benchmark_dream.json and the
same as text, results/benchmark_dream.txt. On CUDA, whatever is timed is waited for.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.contenders import CONTENDERS
from benchmarks.dream_goals import dropping, frontier
from benchmarks.dream_speed import flops, overhead, speed
from benchmarks.problems import MODELS, Settings
from benchmarks.report import count, heading, parser, write
from irdream import runtime
from irdream.errors import InputError

PARTS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "speed": speed,
    "overhead": overhead,
    "dropping": dropping,
    "flops": flops,
    "frontier": frontier,
}
QUICK: dict[str, Any] = {
    "rounds": 1, "most_steps": 2, "overhead_steps": 3, "matrix": 64, "dreams": 3,
    "dream_steps": 3, "step_sizes_db": (0.25, 1.0),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and write; return what was written."""
    options = _options(arguments)
    if options.keep_memory:
        runtime.keep_memory()
    threads = runtime.set_threads(options.threads)
    runtime.set_seed(0)
    device = runtime.choose_device(options.device)
    settings = _settings(options, device)
    report = heading(device, threads) | {"settings": _told(settings, options)}
    for part in options.parts:
        began = time.perf_counter()
        try:
            report[part] = PARTS[part](settings)
        except InputError as error:  # no excerpts, say
            settings.skipped[part] = str(error)
            continue
        report[part]["part_took_seconds"] = round(time.perf_counter() - began, 1)
    report["skipped"] = settings.skipped
    write(report, options.output)
    return report


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    made = parser("dream", __doc__)
    made.add_argument("--rounds", type=count, help="turns that each contender takes (3)")
    made.add_argument("--batches", type=_counts, help="items in a batch (1,11,88,704)")
    made.add_argument("--parts", type=_parts, default=list(PARTS), help=",".join(PARTS))
    made.add_argument(
        "--contenders", type=_contenders, default=list(CONTENDERS), help=",".join(CONTENDERS)
    )
    made.add_argument("--model", default="han2016", choices=MODELS, help="with random weights")
    made.add_argument("--quick", action="store_true", help="tiny; the numbers mean nothing")
    made.add_argument(
        "--keep-memory",
        action="store_true",
        help="for all contenders the setting of `task=dream` that freed memory is kept; without "
        "it memory is managed as in any Python session",
    )
    return made.parse_args(arguments)


def _settings(options: argparse.Namespace, device: torch.device) -> Settings:
    settings = Settings(contenders=options.contenders, model=options.model, device=device)
    if options.quick:
        settings = replace(settings, batches=(1, 3), **QUICK)
    given = {"rounds": options.rounds, "batches": options.batches}
    return replace(settings, **{name: value for name, value in given.items() if value})


def _told(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    left_out = ("device", "skipped")
    told = {name: value for name, value in vars(settings).items() if name not in left_out}
    return {"quick": options.quick, "parts": options.parts} | told


def _counts(given: str) -> list[int]:
    return [count(word) for word in given.split(",")]


def _parts(given: str) -> list[str]:
    return _known(given, PARTS)


def _contenders(given: str) -> list[str]:
    return _known(given, CONTENDERS)


def _known(given: str, names: Any) -> list[str]:
    for word in given.split(","):
        if word not in names:
            raise argparse.ArgumentTypeError(f"{word!r} is unknown; expected {', '.join(names)}")
    return given.split(",")


if __name__ == "__main__":
    main()
