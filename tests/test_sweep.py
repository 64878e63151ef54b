"""A sweep is told from its jobs' files; a job is known again by its signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from irdream import sweep
from irdream.job import Job

CONFIG = {
    "seed": 0,
    "target": "flu",
    "dream": {"steps": 3},
    "train": {"epochs": 20},
    "task": {
        "target": "${target}",
        "steps": "${dream.steps}",
        "device": "cpu",
        "recognizer": {"path": "shipped", "store": "a"},
    },
    "tracker": {"_target_": "irdream.tracking.MlflowTracker", "experiment": "irdream"},
    "store": "mlruns",
    "sweep": {"force": False},
}


def config(**changes: Any) -> Any:
    return OmegaConf.merge(OmegaConf.create(CONFIG), OmegaConf.create(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"store": "elsewhere"},
        {"tracker": {"experiment": "other"}},
        {"sweep": {"force": True}},
        {"train": {"epochs": 3}},  # no part of this task
        {"task": {"device": "cuda"}},
        {"task": {"recognizer": {"store": "b"}}},
    ],
)
def test_paths_devices_and_other_tasks_do_not_decide_what_a_job_finds(changes) -> None:
    assert sweep.signature(config(**changes)) == sweep.signature(config())


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "sax"},
        {"seed": 1},
        {"dream": {"steps": 4}},
        {"task": {"recognizer": {"path": "mine"}}},
    ],
)
def test_what_is_dreamed_does(changes) -> None:
    assert sweep.signature(config(**changes)) != sweep.signature(config())


def test_jobs_are_read_back_in_their_order(tmp_path: Path) -> None:
    jobs = [
        Job(["a=1", "b=2"], str(tmp_path / "10"), number=10, status="finished", seconds=2.0),
        Job(["a=1", "b=3"], str(tmp_path / "2"), number=2, status="failed", error="error: no"),
        Job(["a=1", "b=4"], str(tmp_path / "3"), number=3),
        Job(["a=1", "b=5"], str(tmp_path / "4"), number=4, status="skipped", found_in="old/4"),
    ]
    jobs[0].metrics = {"dream/success": 0.5}
    for job in jobs:
        job.write()
    read, damaged = sweep.read_jobs(tmp_path)
    assert damaged == []

    assert [job.number for job in read] == [2, 3, 4, 10]
    assert [job.status for job in read] == ["failed", "killed", "skipped", "finished"]
    assert read[2].found_in == "old/4"
    assert json.loads((tmp_path / "2" / "job.json").read_text())["folder"] == str(tmp_path / "2")

    lines = sweep.table(read).splitlines()
    assert lines[0] == "sweep: 4 jobs, 1 finished, 1 skipped, 1 failed, 1 killed"
    assert lines[2].split() == ["2", "b=3", "failed", "0.0", "-", "error:", "no"]
    assert lines[5].split() == ["10", "b=2", "finished", "2.0", "0.5"]


def test_a_sweep_without_jobs_says_so() -> None:
    assert sweep.table([]) == "sweep: no job was started"
