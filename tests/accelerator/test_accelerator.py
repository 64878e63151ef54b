"""On a device: everything is where it belongs, gives what the CPU gives, and waits once a step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Results = dict[str, dict[str, Any]]


def results_of(part: str) -> Results:
    """Run a part in a process of its own, since torch has such a device for good."""
    command = [sys.executable, "-m", "tests.accelerator.run", part]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return {result["name"]: result for result in results}


@pytest.fixture(scope="module")
def dreams() -> Results:
    return results_of("dreams")


def check(results: Results) -> None:
    """Check that nothing went wrong, and that what came out is what comes out on the CPU."""
    assert {name: one["error"] for name, one in results.items() if "error" in one} == {}
    differences = {name: max(one["differences"].values()) for name, one in results.items()}
    assert {name: far for name, far in differences.items() if far > 1e-3} == {}


def missing(results: Results, *groups: str) -> set[str]:
    """Return the choices that were not run."""
    ran = {name.split(" ")[0] for name in results}
    choices = {(group, path.stem) for group in groups for path in ROOT.glob(f"conf/{group}/*.yaml")}
    return {f"{group}={choice}" for group, choice in choices} - ran


def test_every_dream_is_that_of_the_cpu(dreams) -> None:
    check(dreams)
    groups = ("objective", "parametrization", "constraint", "optimizer", "transform")
    assert missing(dreams, *groups) == set()


def test_the_host_waits_once_a_step(dreams) -> None:
    """And a second time where torch.optim is told its rates, and in some rarer steps."""
    waits = {name: one["waits"] for name, one in dreams.items() if one.get("waits")}
    assert len(waits) > 70
    assert {name: seen for name, seen in waits.items() if max(seen) > 2} == {}
    assert {name for name, seen in waits.items() if max(seen) > 1} <= {
        "optimizer=adam", "optimizer=adamw", "optimizer=sgd", "consistency of LogMel",
    }  # fmt: skip


@pytest.mark.slow
def test_every_task_gives_what_it_gives_on_the_cpu() -> None:
    results = results_of("tasks")
    check(results)
    assert missing(results, "model", "augmentation", "scheduler", "sonification") == set()


def test_the_device_refuses_what_others_refuse() -> None:
    """So that the tests above can fail."""
    script = """
import torch
from tests.accelerator import device
with device.device() as on:
    x = torch.ones(2, device=on)
    for wrong in (
        lambda: x + torch.ones(2), lambda: x.double(), lambda: torch.arange(3.0)[x.long()],
        lambda: torch.zeros(2, dtype=torch.float64, device=on),
        lambda: torch.rand(2, generator=torch.Generator(), device=on),
    ):
        try:
            print(wrong())
        except (RuntimeError, TypeError) as error:
            print(type(error).__name__, error)
    device.waits.clear()
    print(float(x.sum()), bool((x == 1).all()), x.tolist(), x[x > 0].shape[0], x.cpu().sum().item())
    print(device.waits.total(), float(x[:1] + torch.tensor(3.0)), (x * 2).device)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "RuntimeError aten.add.Tensor: tensors on pretend and on the CPU",
        "TypeError pretend has no torch.float64",
        "RuntimeError aten.index.Tensor: tensors on pretend and on the CPU",
        "TypeError pretend has no torch.float64",
        "RuntimeError aten.rand.generator: a generator of the CPU on pretend",
        "2.0 True [1.0, 1.0] 2 2.0",
        "5 4.0 pretend:0",
    ], done.stderr[-2000:]


def test_a_default_device_of_torch_is_no_hindrance(tmp_path) -> None:
    script = f"""
import torch
from irdream import dream, load, save
from irdream.dreaming.parametrizations import Harmonic
from tests.accelerator import device
with device.device() as on:
    torch.set_default_device(on)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 3))
    print(dream(net, torch.randn(1, 4, 10) - 6, 1, steps=2, progress=False).signal.device)
    shipped, sound = load("shipped"), torch.arange(30000, device="cpu").mul(0.1).sin()
    dream(shipped, sound, 1, parametrization=Harmonic(), steps=1, progress=False)
    save(shipped.to(on), {str(tmp_path)!r})
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("pretend:0\n", 0), done.stderr[-2000:]
