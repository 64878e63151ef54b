"""What the benchmarks share: taking turns, the summary of rounds, the machine, the report.

Contenders take turns in one process, in one order and then in the reverse one, so that other load
on the machine hits all of them; a ratio is formed within a round, and what is reported is its
median over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import torch

import irdream
from irdream.files import replacing
from irdream.tracking.provenance import processor

ROOT = Path(__file__).resolve().parents[1]
Name = TypeVar("Name", bound=Hashable)


def take_turns(
    contenders: Mapping[Name, Callable[[], float]], *, rounds: int, what: str = "turns"
) -> dict[Name, list[float]]:
    """Return what each contender gave in each round, and print when one is over."""
    values: dict[Name, list[float]] = {name: [] for name in contenders}
    for i in range(rounds):
        for name in list(contenders)[:: 1 if i % 2 == 0 else -1]:
            values[name].append(contenders[name]())
        print(f"{what}: round {i + 1} of {rounds}", flush=True)
    return values


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long some work takes, until the device has done it."""
    wait_for(device)
    began = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return the median and the spread, four digits each, and the rounds they come from."""
    rounds = [float(f"{value:.4g}") for value in values]
    return {
        "median": float(f"{statistics.median(values):.4g}"),
        "least": min(rounds),
        "most": max(rounds),
        "rounds": rounds,
    }


def ratio(values: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """Return the summary of the ratios within the rounds."""
    return summary([a / b for a, b in zip(values, others, strict=True)])


def heading(device: torch.device, threads: int) -> dict[str, Any]:
    """Return what a report begins with."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(device, threads),
    }


def machine(device: torch.device, threads: int) -> dict[str, Any]:
    """Say where it is measured, with what, and how busy the machine is before."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "irdream": irdream.__version__,
    }


def write(report: Mapping[str, Any], path: Path) -> None:
    """Write a report as JSON and as text, whole or not at all, and print the text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(_lines(report)) + "\n"
    for name, content in ((path, json.dumps(report, indent=2)), (path.with_suffix(".txt"), text)):
        with replacing(name) as file:
            file.write(f"{content.strip()}\n".encode())
    print(f"\n{text}written: {path} and {path.with_suffix('.txt').name}")


def _lines(report: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield a line for each figure: the median and, of several rounds, least and most."""
    for name, value in report.items():
        if isinstance(value, Mapping) and "rounds" in value and "median" in value:
            told = f"{value['median']:g} ({value['least']:g} to {value['most']:g})"
        elif isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")
            continue
        else:
            told = str(value)
        yield f"{indent}{f'{name}:':26} {told}"


def parser(module: str, about: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """Return the options that all benchmarks have.

    Args:
        module: its name, which that of its results follows.
        about: what --help says, as it stands.
        rounds: the default of --rounds; None: there are none.
    """
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=about)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    if rounds is not None:
        made.add_argument("--rounds", type=count, default=rounds, help=f"of turns ({rounds})")
    made.add_argument("--threads", type=count, help="by default one for each core")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    results = ROOT / "results" / f"benchmark_{module}.json"
    made.add_argument("--output", type=Path, default=results)
    return made


def count(text: str) -> int:
    """Return a number of at least one from the command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small; expected 1 or more")
    return int(text)
