"""Sweeps on a real Ray, started on this machine or joined here; see docs/ray.md."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from irdream.tracking.store import open_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc"),
]

ROOT = Path(__file__).parents[2]
WORDS = ["-m", "hydra/launcher=ray", "task=dream", "target=sax", "start=file",
         "start.path=tone.wav", "dream.figures=0"]  # fmt: skip
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Where and as whom Ray works; at the end, nothing of it may be left running."""
    folder = tempfile.mkdtemp(prefix="ray-")  # the paths of Ray's sockets must be short
    own = {
        "RAY_TMPDIR": folder,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "COLUMNS": "120",
    }
    yield {**os.environ, **own}
    wait_for(lambda: not processes(folder), "Ray's processes to end", seconds=30)
    shutil.rmtree(folder)


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start `python main.py -m hydra/launcher=ray ...` on a short tone."""
    at = np.arange(33_075) / 22_050
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * at), 22_050)
    begun: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), *WORDS, *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        process.kill()
        process.wait()


@pytest.fixture
def cluster(tmp_path_factory: Any, environment: dict[str, str]) -> Iterator[str]:
    """Start a cluster of one machine in another folder, and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
               "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2",
               "--include-dashboard=false", "--object-store-memory=100000000"]  # fmt: skip
    folder = tmp_path_factory.mktemp("elsewhere")
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None
        with socket.socket() as there:
            return there.connect_ex(("127.0.0.1", port)) == 0

    wait_for(answers, "the cluster to start")
    yield f"127.0.0.1:{port}"
    assert process.poll() is None, "a sweep has stopped the cluster that it joined"
    process.terminate()
    process.wait(timeout=60)


def wait_for(condition: Callable[[], Any], what: str, *, seconds: float = 180) -> Any:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def processes(folder: str, title: str = "") -> list[int]:
    """Return the processes that name a folder in their environment and begin with a title."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            named = folder.encode() in (place / "environ").read_bytes()
            if named and (place / "cmdline").read_bytes().startswith(title.encode()):
                found.append(int(place.name))
        except OSError:  # it has ended
            continue
    return [pid for pid in found if pid != os.getpid()]


def job(folder: Path, number: int) -> dict[str, Any]:
    paths = list(folder.glob(f"outputs/*/*-sweep/{number}/job.json"))
    return json.loads(paths[0].read_text()) if paths else {}


def runs(folder: Path) -> tuple[Any, list[Any]]:
    """Return the parent run of the only sweep, and the runs below it."""
    store = open_store(root=folder / "mlruns")
    found = store.client.search_runs([store.experiment("irdream")])
    (parent,) = [run for run in found if run.data.tags.get("irdream.kind") == "sweep"]
    below = [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, below


def test_jobs_run_at_once_in_processes_of_their_own(start, tmp_path) -> None:
    process = start(
        "dream.steps=2", "start.seconds=1,0.5,1.1,1.2", "+hydra.launcher.init.num_cpus=2"
    )
    shown, errors = process.communicate(timeout=400)

    assert process.returncode == 1
    assert "sweep: 4 jobs, 3 finished, 1 failed" in shown, errors
    rows = [line.split() for line in shown.splitlines() if line[:1].isdecimal()]
    assert [row[:3] for row in rows] == [
        ["0", "start.seconds=1", "finished"],
        ["1", "start.seconds=0.5", "failed"],
        ["2", "start.seconds=1.1", "finished"],
        ["3", "start.seconds=1.2", "finished"],
    ]
    (told,) = [line for line in errors.splitlines() if "error:" in line]
    assert told.startswith("(job 1 pid=")
    assert ") error: start.seconds=0.5" in told
    assert "Traceback" not in errors + shown
    assert "heard as the target" in shown

    parent, below = runs(tmp_path)
    assert parent.info.status == "FAILED"
    assert sorted(run.info.status for run in below) == ["FAILED", *["FINISHED"] * 3]
    assert {run.data.tags["irdream.threads"] for run in below} == {"1"}
    assert {run.data.params["start.seconds"] for run in below} == {"1", "0.5", "1.1", "1.2"}
    where = {run.data.tags["irdream.pid"] for run in below}
    assert str(process.pid) not in where
    assert len(where) == 2


def test_a_worker_that_is_killed_costs_its_job_alone(start, tmp_path) -> None:
    process = start(
        "dream.octaves=1", "dream.confidence=null", "dream.steps=100000,2,3",
        "tracker=none", "+hydra.launcher.init.num_cpus=2",
    )  # fmt: skip
    (pid,) = wait_for(lambda: processes(str(tmp_path), "ray::job 0"), "job 0 to run")
    wait_for(lambda: job(tmp_path, 0), "job 0 to say that it runs")
    os.kill(pid, signal.SIGKILL)
    shown, errors = process.communicate(timeout=400)

    assert process.returncode == 1
    assert "sweep: 3 jobs, 2 finished, 1 killed" in shown, errors
    assert "0    dream.steps=100000  killed" in shown
    assert errors.count("\nerror: job 0 died: WorkerCrashedError: The worker died") == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_jobs_and_closes_their_runs(start, tmp_path, number, status) -> None:
    process = start("dream.confidence=null", "dream.steps=100000,100001,100002")
    wait_for(
        lambda: list(tmp_path.glob("mlruns/artifacts/*/artifacts/config/config.yaml")),
        "a run to open",
    )
    process.send_signal(number)
    shown, errors = process.communicate(timeout=100)

    assert process.returncode == status, errors
    assert " killed" in shown
    parent, below = runs(tmp_path)
    assert {run.info.status for run in (parent, *below)} == {"KILLED"}
    assert below


def test_a_cluster_is_joined_and_left_as_it_was(start, tmp_path, cluster) -> None:
    process = start(
        "dream.steps=2", "dream.octaves=1,2", f"hydra.launcher.address={cluster}",
        "hydra.launcher.num_cpus=2",
    )  # fmt: skip
    shown, errors = process.communicate(timeout=400)

    assert process.returncode == 0, errors
    assert "sweep: 2 jobs, 2 finished" in shown
    parent, below = runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert [run.data.tags["irdream.threads"] for run in below] == ["2", "2"]
