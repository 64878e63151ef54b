"""Runs that are marked RUNNING although their process is gone.

A process that is killed at once (kill -9, a power cut) cannot end its run. What it wrote when it
opened the run, its host, process id and the boot id of the machine, tells later that it is gone:
on the same host another boot, or no process of that number, or one that began after the run.
Of other hosts nothing is known.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from irdream.tracking.provenance import boot_id
from irdream.tracking.store import open_store

State = Literal["dead", "alive", "elsewhere"]
_SLACK_SECONDS = 5.0  # between clocks of the kernel and of the store


@dataclass(frozen=True)
class OpenRun:
    """A run that is marked RUNNING, and what became of its process."""

    run_id: str
    name: str
    host: str
    pid: str
    state: State


def open_runs(*, root: Path, uri: str | None = None) -> list[OpenRun]:
    """Return all runs of a store that are marked RUNNING."""
    store = open_store(root=root, uri=uri)
    experiments = store.patiently(store.client.search_experiments)
    runs = store.patiently(
        store.client.search_runs,
        [one.experiment_id for one in experiments],
        "attributes.status = 'RUNNING'",
        max_results=50_000,
    )
    found = []
    for run in runs:
        tags = run.data.tags
        host, pid = tags.get("irdream.host", ""), tags.get("irdream.pid", "")
        state = _state(host, pid, tags.get("irdream.boot_id", ""), run.info.start_time / 1000)
        name = str(run.info.run_name)
        found.append(OpenRun(run.info.run_id, name, host or "unknown", pid or "?", state))
    return found


def close_dead(*, root: Path, uri: str | None = None) -> list[OpenRun]:
    """Mark the dead runs KILLED; return all that were marked RUNNING before."""
    found = open_runs(root=root, uri=uri)
    store = open_store(root=root, uri=uri)
    for run in found:
        if run.state == "dead":
            store.end_run(run.run_id, "KILLED")
    return found


def _state(host: str, pid: str, boot: str, started: float) -> State:
    if host != socket.gethostname() or not pid.isdigit():
        return "elsewhere"
    if boot != boot_id():
        return "dead"
    began = _began(int(pid))
    if began is None or began > started + _SLACK_SECONDS:
        return "dead"
    return "alive"


def _began(pid: int) -> float | None:
    """Return when a process began, in seconds since 1970; None where there is none.

    Without /proc only its being there is known, and it counts as old.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text().rpartition(")")[2].split()
        ticks = float(fields[19])  # field 22 of proc(5), after the name
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return _without_proc(pid)
    if fields[0] == "Z":  # dead, and not yet waited for
        return None
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def _without_proc(pid: int) -> float | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0.0
    return 0.0
