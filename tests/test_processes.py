"""Only a process that is surely gone counts as dead."""

import subprocess
import sys
import time

import psutil
import pytest

from irdream import processes
from irdream.processes import state, this_process


@pytest.fixture(scope="module")
def gone() -> str:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return str(child.pid)


def test_a_process_is_dead_when_its_machine_says_so(gone: str) -> None:
    here, now = this_process(), time.time()
    assert state(here, now) == "alive"
    assert state({**here, "pid": gone}, now) == "dead"
    assert state({**here, "pid": int(gone)}, now) == "dead"
    assert state({**here, "boot_id": "another"}, now) == "dead"


def test_of_another_machine_nothing_is_known(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, now = this_process(), time.time()
    assert state({**here, "host": "another", "pid": gone}, now) == "elsewhere"
    assert state({**here, "pid": "?"}, now) == "elsewhere"
    assert state({}, now) == "elsewhere"
    monkeypatch.setattr(processes.os, "name", "nt")  # there os.kill would end it
    assert state({**here, "pid": gone}, now) == "elsewhere"


def test_a_process_that_began_later_has_only_the_number() -> None:
    assert state(this_process(), since=1e9) == "dead"


def test_a_process_that_ended_and_was_not_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    while child.pid and psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert state({**this_process(), "pid": str(child.pid)}, time.time()) == "dead"
    child.wait()


def test_a_process_of_others_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(pid: int) -> psutil.Process:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(processes.psutil, "Process", denied)
    assert state(this_process(), time.time()) == "alive"
