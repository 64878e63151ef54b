"""Only a process that is surely gone counts as dead."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_began_later_has_only_the_number(gone: str) -> None:
    assert state(this_process(), since=1e9) == "dead"


def test_without_proc_the_system_is_asked(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere:
        def __init__(self, path: str) -> None: ...
        def exists(self) -> bool:
            return False

        def read_text(self) -> str:
            raise FileNotFoundError

    here, now = this_process(), time.time()
    monkeypatch.setattr(processes, "Path", Nowhere)
    assert state(here, now) == "alive"
    assert state({**here, "pid": gone}, now) == "dead"
