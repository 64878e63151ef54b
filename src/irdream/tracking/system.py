"""What a run uses of its machine: processor, memory, graphics cards, sampled while it works.

A daemon thread reads and remembers; the tracker writes what it read with its other metrics. So
only the run's own thread speaks to the store: MLflow's monitor, which asks and writes through a
client in a thread, would meet a signal handler in the middle of SQLite. The names are those that
MLflow's UI gathers under "System metrics"; one reading costs 0.1 ms.

psutil reads processor and memory, pynvml (the package nvidia-ml-py) NVIDIA's cards. What is not
installed, or fails, is left out: no figure is worth a run.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from irdream.errors import InputError

Figures = dict[str, float]
Reading = Callable[[], Figures]

SAMPLES_AT_ONE_PACE = 300  # then the interval doubles: 2200 samples of a day, not 43,200
_MEGABYTE = 1e6
_SHORT_SHARE = 0.1  # of an interval
_LAST_SAMPLE_SECONDS = 1.0  # waited for at the end


class Sample(NamedTuple):
    """What was read at a time, in milliseconds since 1970; `step` counts a run's samples."""

    timestamp: int
    step: int
    figures: Figures


class SystemSampler:
    """Samples this process and its machine every few seconds, from `start` until `stop`.

    The first sample comes after one interval, the last one at the end, so that a short run has
    one. That has the run's peak of memory too.

    Args:
        seconds: between two samples, at first; see SAMPLES_AT_ONE_PACE.

    Raises:
        InputError: when `seconds` is not above 0.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise InputError(
                f"tracker.system_seconds={seconds:g}; expected more than 0, or null for no figures"
            )
        self._seconds = seconds
        self._samples: deque[Sample] = deque()
        self._ending = threading.Event()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._watch, name="irdream-system", daemon=True)

    def start(self) -> None:
        """Begin; only once."""
        self._thread.start()

    def take(self) -> list[Sample]:
        """Return the samples that were not taken yet; none in a forked child."""
        if os.getpid() != self._pid:
            return []
        return [self._samples.popleft() for _ in range(len(self._samples))]

    def stop(self) -> None:
        """Take the last sample and end; in a forked child, or a second time, do nothing."""
        if os.getpid() == self._pid and self._thread.is_alive():
            self._ending.set()
            self._thread.join(_LAST_SAMPLE_SECONDS)

    def _watch(self) -> None:
        with contextlib.suppress(Exception):
            memory = _PeakMemory()
            readings = [*_processor_and_memory(memory), *_graphics_cards()]
            seconds, step, at = self._seconds, 0, -math.inf
            while not self._ending.wait(seconds):
                self._add(step, readings)
                step, at = step + 1, time.monotonic()
                seconds *= 1 if step % SAMPLES_AT_ONE_PACE else 2
            is_long = time.monotonic() - at > _SHORT_SHARE * seconds  # enough to tell a use
            self._add(step, [*(readings if is_long else ()), memory.peak])

    def _add(self, step: int, readings: list[Reading]) -> None:
        figures: Figures = {}
        for read in readings:
            with contextlib.suppress(Exception):  # a card may vanish
                figures |= read()
        named = {f"system/{name}": value for name, value in figures.items()}
        self._samples.append(Sample(int(time.time() * 1000), step, named))


class _PeakMemory:
    """The most memory that this process held since now.

    The system knows the peak since the process began. Where that rose, it is the answer, spikes
    between samples included; where an earlier run went higher, the samples alone can tell.
    """

    def __init__(self) -> None:
        self._before = _peak_megabytes()
        self._sampled = 0.0

    def saw(self, megabytes: float) -> float:
        self._sampled = max(self._sampled, megabytes)
        return megabytes

    def peak(self) -> Figures:
        now = _peak_megabytes()
        peak = max(self._sampled, now if now > self._before else 0.0)
        return {"process_memory_peak_megabytes": peak} if peak else {}


def _peak_megabytes() -> float:
    """Return the most memory this process ever held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MEGABYTE


def _processor_and_memory(memory: _PeakMemory) -> Iterator[Reading]:
    yield _ProcessorShare()
    try:
        import psutil
    except ImportError:
        return
    process = psutil.Process()
    psutil.cpu_percent()  # it tells the use since the last call

    def machine() -> Figures:
        found = psutil.virtual_memory()
        return {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": found.used / _MEGABYTE,
            "system_memory_usage_percentage": 100 * found.used / found.total,
        }

    yield machine
    yield lambda: {
        "process_memory_megabytes": memory.saw(process.memory_info().rss / _MEGABYTE),
    }


class _ProcessorShare:
    """How many percent of one core all threads of this process used since the last call."""

    def __init__(self) -> None:
        self._used, self._at = time.process_time(), time.perf_counter()

    def __call__(self) -> Figures:
        used, at = time.process_time(), time.perf_counter()
        share = 100 * (used - self._used) / max(at - self._at, 1e-6)
        self._used, self._at = used, at
        return {"process_cpu_percentage": share}


def _graphics_cards() -> Iterator[Reading]:
    """Yield the readings of the cards that this process may use, numbered from 0."""
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
    except Exception:  # not installed, no driver
        return
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(count)] if named is None else named.split(",")
    for number, name in enumerate(names):
        with contextlib.suppress(Exception):  # a card that is not there
            yield from _card(nvml, f"gpu_{number}", _handle(nvml, name.strip()))


def _handle(nvml: Any, name: str) -> Any:
    if name.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _card(nvml: Any, card: str, handle: Any) -> Iterator[Reading]:
    """Yield what a card tells, each on its own: some cards do not tell all."""

    def memory() -> Figures:
        found = nvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            f"{card}_memory_usage_megabytes": found.used / _MEGABYTE,
            f"{card}_memory_usage_percentage": 100 * found.used / found.total,
        }

    yield memory
    yield lambda: {
        f"{card}_utilization_percentage": float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    }
    yield lambda: {f"{card}_power_usage_watts": nvml.nvmlDeviceGetPowerUsage(handle) / 1000}
