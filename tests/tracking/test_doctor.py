"""Runs whose process is gone are found, others are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from irdream.tasks.doctor import doctor
from irdream.tracking import MlflowTracker
from irdream.tracking.doctor import close_dead, open_runs
from irdream.tracking.store import open_store


@pytest.fixture
def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_only_what_is_surely_dead_is_closed(root: Path, dead_pid: int, capsys) -> None:
    tags = {
        "alive": {},
        "dead": {"irdream.pid": str(dead_pid)},
        "another boot": {"irdream.boot_id": "another"},
        "elsewhere": {"irdream.host": "another-host"},
        "by hand": {"irdream.pid": "?"},
    }
    trackers = {
        name: MlflowTracker(root=root, run_name=name, tags=more) for name, more in tags.items()
    }
    states = {run.name: run.state for run in open_runs(root=root)}
    assert states == {
        "alive": "alive",
        "dead": "dead",
        "another boot": "dead",
        "elsewhere": "elsewhere",
        "by hand": "elsewhere",
    }
    metrics = doctor(store=root)

    assert metrics == {"doctor/closed": 2, "doctor/alive": 1, "doctor/elsewhere": 2}
    assert "closed as KILLED" in capsys.readouterr().out
    store = open_store(root=root)
    for name, tracker in trackers.items():
        status = store.client.get_run(tracker.run_id).info.status
        assert status == ("KILLED" if states[name] == "dead" else "RUNNING")
        tracker.close()
    assert close_dead(root=root) == []
    assert doctor(store=root)["doctor/closed"] == 0
    assert "no run is marked RUNNING" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_began_after_the_run_is_another_one(root: Path) -> None:
    tracker = MlflowTracker(root=root)
    store = open_store(root=root)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        store.log(tracker.run_id, tags=[("irdream.pid", str(child.pid))])
        assert open_runs(root=root)[0].state == "alive"  # it began within the clocks' slack
        long_ago = store.client.create_run(
            tracker.experiment_id,
            start_time=1_000_000_000_000,
            tags={
                **store.client.get_run(tracker.run_id).data.tags,
                "irdream.pid": str(os.getpid()),
            },
        )
        states = {run.run_id: run.state for run in open_runs(root=root)}
        assert states[long_ago.info.run_id] == "dead"
    finally:
        child.communicate(b"\n")
        tracker.close()
