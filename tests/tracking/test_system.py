"""Where psutil is not installed, these tests see what is left: the share of the processor."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from irdream.errors import InputError
from irdream.tracking import system
from irdream.tracking.system import SystemSampler

needs_psutil = pytest.mark.skipif(
    importlib.util.find_spec("psutil") is None, reason="psutil is not installed"
)
SHARE, PEAK = "system/process_cpu_percentage", "system/process_memory_peak_megabytes"


class NoSuchCardError(Exception):
    pass


class FakeNvml(ModuleType):
    """Two cards; the second one tells no power, and may vanish."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.vanished = False

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index > 1:
            raise NoSuchCardError
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return {"GPU-a": 0, "GPU-b": 1}[uuid]

    def nvmlDeviceGetMemoryInfo(self, card: int) -> Any:  # noqa: N802
        self._check(card)
        return SimpleNamespace(used=(card + 1) * 1_000_000_000, total=8_000_000_000)

    def nvmlDeviceGetUtilizationRates(self, card: int) -> Any:  # noqa: N802
        self._check(card)
        return SimpleNamespace(gpu=50 + card)

    def nvmlDeviceGetPowerUsage(self, card: int) -> int:  # noqa: N802
        if card:
            raise NoSuchCardError
        return 70_500

    def _check(self, card: int) -> None:
        if card and self.vanished:
            raise NoSuchCardError


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def figures_of_a_short_run() -> dict[str, float]:
    sampler = SystemSampler(1000.0)
    sampler.start()
    sampler.stop()
    [sample] = sampler.take()
    return sample.figures


def test_samples_come_at_their_pace_and_once_more_at_the_end() -> None:
    before = int(time.time() * 1000)
    sampler = SystemSampler(0.02)
    sampler.start()
    time.sleep(0.1)
    first = sampler.take()
    sampler.stop()
    last = sampler.take()
    samples = first + last
    assert len(first) >= 1
    assert [sample.step for sample in samples] == list(range(len(samples)))
    assert before <= samples[0].timestamp <= samples[-1].timestamp <= time.time() * 1000
    assert all(SHARE in sample.figures for sample in samples[:-1])
    assert not any(PEAK in sample.figures for sample in samples[:-1])
    assert sampler.take() == []
    sampler.stop()
    assert sampler.take() == []


def test_a_long_run_is_sampled_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return sum(waits) > 24 * 3600

    sampler = SystemSampler(2.0)
    monkeypatch.setattr(sampler, "_ending", Clock())
    sampler._watch()
    assert len(sampler.take()) == len(waits) < 2300
    assert waits[299:301] == [2.0, 4.0]


@pytest.mark.parametrize(("seconds", "is_told"), [(0.005, False), (1.5, True)])
def test_a_use_is_told_of_a_stretch_that_is_long_enough(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_told: bool
) -> None:
    now = [100.0]

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            first = now[0] == 100.0
            now[0] += 2.0 if first else seconds
            return not first

    sampler = SystemSampler(2.0)
    monkeypatch.setattr(sampler, "_ending", Clock())
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    sampler._watch()
    assert [SHARE in sample.figures for sample in sampler.take()] == [True, is_told]


def test_work_shows_in_the_share_of_the_processor() -> None:
    sampler = SystemSampler(1000.0)
    sampler.start()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        sum(range(1000))
    sampler.stop()
    [sample] = sampler.take()
    assert sample.figures[SHARE] > 20


@needs_psutil
def test_processor_and_memory_have_mlflows_names() -> None:
    figures = figures_of_a_short_run()
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
        "system/process_memory_megabytes",
        SHARE,
    } <= set(figures)
    assert all(math.isfinite(value) for value in figures.values())
    assert 0 < figures["system/system_memory_usage_percentage"] <= 100
    assert 1 < figures["system/process_memory_megabytes"] <= figures[PEAK]


def test_the_peak_is_the_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    of_process = [500.0]
    monkeypatch.setattr(system, "_peak_megabytes", lambda: of_process[0])
    memory = system._PeakMemory()
    for megabytes in (100.0, 300.0, 200.0):
        memory.saw(megabytes)
    assert memory.peak() == {"process_memory_peak_megabytes": 300.0}  # an earlier run had 500
    of_process[0] = 800.0  # a spike between two samples
    assert memory.peak() == {"process_memory_peak_megabytes": 800.0}


def test_a_system_that_tells_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    memory = system._PeakMemory()
    assert memory.peak() == {}
    memory.saw(100.0)
    assert memory.peak() == {"process_memory_peak_megabytes": 100.0}


def test_without_psutil_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert set(figures_of_a_short_run()) - {PEAK} == {SHARE}


def test_cards_have_mlflows_names_and_tell_what_they_can(nvml: FakeNvml) -> None:
    figures = {k: v for k, v in figures_of_a_short_run().items() if k.startswith("system/gpu")}
    assert figures == {
        "system/gpu_0_memory_usage_megabytes": 1000.0,
        "system/gpu_0_memory_usage_percentage": 12.5,
        "system/gpu_0_utilization_percentage": 50.0,
        "system/gpu_0_power_usage_watts": 70.5,
        "system/gpu_1_memory_usage_megabytes": 2000.0,
        "system/gpu_1_memory_usage_percentage": 25.0,
        "system/gpu_1_utilization_percentage": 51.0,
    }


def test_a_card_that_vanishes_takes_nothing_else_with_it(nvml: FakeNvml) -> None:
    sampler = SystemSampler(0.02)
    sampler.start()
    time.sleep(0.1)
    nvml.vanished = True
    time.sleep(0.1)
    sampler.stop()
    samples = [sample for sample in sampler.take() if SHARE in sample.figures]
    used = [f"system/gpu_{card}_utilization_percentage" for card in (0, 1)]
    assert set(used) <= set(samples[0].figures)
    assert used[0] in samples[-1].figures
    assert used[1] not in samples[-1].figures


@pytest.mark.parametrize(
    ("visible", "shares"),
    [
        pytest.param("1", {"gpu_0": 51.0}, id="by number"),
        pytest.param("GPU-b, GPU-a", {"gpu_0": 51.0, "gpu_1": 50.0}, id="by name"),
        pytest.param("", {}, id="none"),
        pytest.param("-1", {}, id="none, otherwise said"),
        pytest.param("0,7", {"gpu_0": 50.0}, id="one that is not there"),
    ],
)
def test_only_the_cards_of_this_process_are_read(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str, shares: dict[str, float]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    end = "_utilization_percentage"
    found = {k: v for k, v in figures_of_a_short_run().items() if k.endswith(end) and "gpu" in k}
    assert found == {f"system/{card}{end}": share for card, share in shares.items()}


def test_a_machine_without_driver(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise NoSuchCardError

    monkeypatch.setattr(nvml, "nvmlInit", no_driver)
    assert not any("gpu" in name for name in figures_of_a_short_run())


def test_a_thread_that_fails_harms_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("no such process")

    monkeypatch.setattr(system, "_processor_and_memory", fails)
    sampler = SystemSampler(0.01)
    sampler.start()
    sampler.stop()
    assert sampler.take() == []


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_an_interval_must_be_one(seconds: float) -> None:
    with pytest.raises(InputError, match=r"tracker\.system_seconds=.*; expected more than 0, or"):
        SystemSampler(seconds)


FORKING = """
import os, sys, time
from irdream.tracking.system import SystemSampler
sampler = SystemSampler(0.01)
sampler.start()
time.sleep(0.2)
child = os.fork()
if child == 0:
    sampler.stop()
    os._exit(len(sampler.take()))
assert os.waitpid(child, 0)[1] == 0, "the child has samples of its parent"
assert sampler.take()
sampler.stop()
assert len(sampler.take()) >= 1
lingering = SystemSampler(1000.0)
lingering.start()  # and does not keep the process
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_none_and_the_end_waits_for_none(
    child_environment: dict[str, str],
) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    said = subprocess.run(
        command, env=child_environment, timeout=60, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
