"""Sweeps by the released launcher on a real Ray, started here or joined; see docs/ray.md."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from irdream.tracking.store import open_store
from tests.tiny import sweep_runs, write_tone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]

ROOT = Path(__file__).parents[2]
WORDS = ["task=dream", "target=sax", "start=file", "start.path=tone.wav", "dream.figures=0",
         "dream.steps=2"]  # fmt: skip
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where and as whom Ray works, on a short tone."""
    write_tone(tmp_path / "tone.wav")
    folder = tempfile.mkdtemp(prefix="ray-")  # the paths of Ray's sockets must be short
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    yield {**os.environ, **token, "RAY_TMPDIR": folder, "COLUMNS": "120"}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[None]:
    """A cluster of one machine, started in the folder of the sweep."""
    command = [*RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--port=0",
               "--num-cpus=2", "--include-dashboard=false"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any("Ray runtime started" in line for line in process.stdout)
        yield
        assert process.poll() is None, "a sweep has stopped the cluster that it joined"
        process.terminate()


def sweep(folder: Path, environment: dict[str, str], *words: str) -> tuple[int, str, str]:
    command = [sys.executable, str(ROOT / "main.py"), "-m", *WORDS, *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400
    )
    return done.returncode, done.stdout, done.stderr


def runs(folder: Path) -> tuple[str, list[str]]:
    """Return how the only sweep ended, and each run below its parent."""
    parent, below = sweep_runs(open_store(root=folder / "mlruns"))
    return parent.info.status, sorted(run.info.status for run in below)


def test_a_job_that_fails_costs_itself_alone(tmp_path, environment) -> None:
    code, shown, errors = sweep(
        tmp_path, environment, "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2",
        "start.seconds=1,0.5,1.1",
    )  # fmt: skip
    assert code == 1
    assert "sweep: 3 jobs, 2 finished, 1 failed" in shown, errors
    rows = [line.split() for line in shown.splitlines() if line[:1].isdecimal()]
    assert [row[:3] for row in rows] == [
        ["0", "start.seconds=1", "finished"],
        ["1", "start.seconds=0.5", "failed"],
        ["2", "start.seconds=1.1", "finished"],
    ]
    assert "error: start.seconds=0.5" in errors
    assert "Traceback" not in errors + shown
    assert runs(tmp_path) == ("FAILED", ["FAILED", "FINISHED", "FINISHED"])


def test_a_cluster_is_joined_and_left_as_it_was(tmp_path, environment, cluster) -> None:
    code, shown, errors = sweep(
        tmp_path, environment, "hydra/launcher=ray_cluster", "dream.octaves=1,2"
    )
    assert code == 0, errors
    assert "sweep: 2 jobs, 2 finished" in shown
    assert runs(tmp_path) == ("FINISHED", ["FINISHED", "FINISHED"])
