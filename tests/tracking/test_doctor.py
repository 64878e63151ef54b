"""Runs whose process is gone are found, others are left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from irdream.errors import InputError
from irdream.tasks.doctor import doctor
from irdream.tracking import MlflowTracker
from irdream.tracking.store import Store


@pytest.fixture
def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_only_what_is_surely_dead_is_closed(root: Path, store: Store, dead_pid, capsys) -> None:
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
    metrics = doctor(store=root)

    assert metrics == {"doctor/closed": 2, "doctor/alive": 1, "doctor/elsewhere": 2}
    assert "closed as KILLED" in capsys.readouterr().out
    for name, tracker in trackers.items():
        status = store.client.get_run(tracker.run_id).info.status
        assert status == ("KILLED" if name in ("dead", "another boot") else "RUNNING")
        tracker.close()
    assert doctor(store=root)["doctor/closed"] == 0
    assert "no run is marked RUNNING" in capsys.readouterr().out


def test_a_folder_without_a_store_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    expected = r"^store=.* has no tracking store; expected a folder with mlflow.db, as mlruns$"
    with pytest.raises(InputError, match=expected):
        doctor(store=tmp_path)
    assert list(tmp_path.iterdir()) == []
