"""A sweep on a real Slurm of one node, as a person types it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from irdream.tracking.store import open_store
from tests.cluster.slurm_node import SlurmNode, why_not
from tests.tiny import write_tone

ROOT = Path(__file__).parents[2]
SWEPT = ("-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2",
         "hydra.sweep.dir=swept", "task=dream", "start=file", "dream.figures=0")  # fmt: skip
REASON = why_not()
TONE = ("target=sax", "start.path=tone.wav", "dream.confidence=null")
Start = Callable[..., subprocess.Popen[str]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.fixture(scope="module", params=["sacct", "no accounts"])
def node(request: pytest.FixtureRequest) -> Iterator[SlurmNode]:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs irdream[slurm]")
    node = SlurmNode()
    if request.param == "no accounts":
        node.accounts = False
    elif not node.accounts:
        pytest.skip("needs slurmdbd and mariadb-server")
    with node:
        yield node


@pytest.fixture
def start(node: SlurmNode, tmp_path: Path) -> Iterator[Start]:
    write_tone(tmp_path / "tone.wav", seconds=1.0)
    begun: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), *SWEPT, *words],
            cwd=tmp_path,
            env={**os.environ, **node.environment, "COLUMNS": "120"},
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
    node.ask("scancel", "--user=root", "--full", "--signal=KILL")


def statuses(folder: Path) -> tuple[list[str], list[str]]:
    """Return the status of each sweep's parent run, and those of the runs below, oldest first."""
    store = open_store(root=folder / "mlruns")
    runs = store.client.search_runs(
        [store.experiment("irdream")], order_by=["attributes.start_time ASC"]
    )
    parents = [run for run in runs if run.data.tags.get("irdream.kind") == "sweep"]
    of_jobs = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    return [run.info.status for run in parents], sorted(run.info.status for run in of_jobs)


def rows(shown: str) -> list[list[str]]:
    """Return number, what was swept and status of each row of the table."""
    return [line.split()[:3] for line in shown.splitlines() if re.match(r"\d+ +\w+\.\w+=", line)]


def wait_for(there: Callable[[], Any], what: str, *, seconds: float = 120) -> Any:
    give_up = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < give_up, f"no {what} after {seconds} s"
        time.sleep(0.2)
    return found


def begun(folder: Path, number: int) -> Callable[[], bool]:
    """Return what tells whether the run of a job was opened."""
    return (folder / "swept" / str(number) / "job.json").exists


def array(folder: Path) -> str:
    """Return what Slurm calls the sweep's jobs."""
    return next(folder.glob("swept/.submitit/*_0")).name.partition("_")[0]


def test_jobs_run_in_slurm_and_one_that_fails_stops_no_other(node, start, tmp_path) -> None:
    if not node.accounts:
        pytest.skip("was tested with sacct")
    sweep = start("dream.steps=2", "start.path=tone.wav,missing.wav", "target=sax,flute")
    shown, complaints = sweep.communicate(timeout=300)

    assert sweep.returncode == 1, complaints
    assert "sweep: 4 jobs, 2 finished, 2 failed" in shown
    assert "error: no such file or folder: 'missing.wav'" in shown
    assert complaints == ""
    assert len(list(tmp_path.glob("swept/*/dreams.csv"))) == 2
    assert statuses(tmp_path) == (["FAILED"], ["FAILED", "FAILED", "FINISHED", "FINISHED"])
    told = node.ask("scontrol", "show", "job", array(tmp_path))
    assert told.count("JobState=COMPLETED") == 4
    assert told.count("JobName=irdream") == 4


def test_a_killed_job_is_noticed_and_run_again(node, start, tmp_path) -> None:
    """One is killed on its node, one cancelled while it waits; the others go on."""
    sweep = start(*TONE, "dream.steps=100000,2,3,4", "hydra.launcher.array_parallelism=2")
    wait_for(begun(tmp_path, 0), "job")
    name = array(tmp_path)
    node.ask("scancel", f"{name}_3")
    wait_for(lambda: len(statuses(tmp_path)[1]) == 2, "runs of the first two jobs")
    for pid in wait_for(lambda: pids(tmp_path, f"{name}_0"), "process of the job"):
        os.kill(pid, signal.SIGKILL)
    shown, complaints = sweep.communicate(timeout=200)

    assert sweep.returncode == 1, complaints
    assert [row[2] for row in rows(shown)] == ["killed", "finished", "finished", "killed"]
    assert "Traceback" not in complaints
    assert re.search(r"^error: job 0 of the sweep was killed; see .*_0_log.err; ", complaints, re.M)
    assert len(complaints.splitlines()) == 2  # Hydra names the overrides
    assert statuses(tmp_path) == (["FAILED"], ["FINISHED", "FINISHED", "KILLED"])

    again = start(*TONE, "dream.steps=2,3,4", "hydra.sweep.dir=again")
    shown, complaints = again.communicate(timeout=200)
    assert again.returncode == 0, complaints
    assert [row[2] for row in rows(shown)] == ["skipped", "skipped", "finished"]


def test_a_signal_leaves_the_jobs_and_says_how_to_end_them(node, start, tmp_path) -> None:
    if not node.accounts:
        pytest.skip("was tested with sacct")
    sweep = start(*TONE, "dream.steps=100000,99999,99998")
    wait_for(begun(tmp_path, 0), "job")
    sweep.terminate()
    shown, complaints = sweep.communicate(timeout=60)

    assert sweep.returncode == 143, complaints
    assert complaints == f"the jobs go on; to end them: scancel {array(tmp_path)}\n"
    assert [row[2] for row in rows(shown)] == ["killed", "killed", "killed"]
    assert node.ask("squeue", "--noheader", "--array").count(array(tmp_path)) == 3
    assert statuses(tmp_path)[0] == ["KILLED"]


def test_what_slurm_refuses_is_one_line(node, start, tmp_path) -> None:
    sweep = start(*TONE, "dream.steps=2,3", "hydra.launcher.partition=nowhere")
    shown, complaints = sweep.communicate(timeout=60)

    assert sweep.returncode == 1
    assert shown == "sweep: no job was started\n"
    assert complaints.startswith(
        "error: hydra/launcher=slurm: invalid partition specified: nowhere"
    )
    assert len(complaints.splitlines()) == 1


def pids(folder: Path, job: str) -> list[int]:
    """Return the Python processes of a job on its node."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            own = dict(p.split("=", 1) for p in path.read_text().split("\0") if "=" in p)
            name = (path.parent / "cmdline").read_text()
        except OSError:
            continue
        here = f"{own.get('SLURM_ARRAY_JOB_ID')}_{own.get('SLURM_ARRAY_TASK_ID')}" == job
        if here and own.get("SLURM_PROCID") and str(folder) in name and "_submit" in name:
            found.append(int(path.parent.name))
    return found
