"""Whether a process that left its mark is still alive.

The mark is its host, its process id and the boot id of its machine. On the same host another boot,
no process of that number, or one that began later, tell that it is gone. Of other hosts, and on
Windows, nothing is known.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

State = Literal["dead", "alive", "elsewhere"]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLACK_SECONDS = 5.0  # between the clocks of the kernel and of a store


def this_process() -> dict[str, str]:
    """Return the mark of this process: `host`, `pid`, and `boot_id`, empty where none is told."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "boot_id": boot}


def mark(process: Mapping[str, Any] | None = None) -> str:
    """Return what `this_process` returned, here or there, as a text."""
    return json.dumps(process or this_process(), sort_keys=True)


def state(mark: Mapping[str, Any], since: float) -> State:
    """Return what became of a process.

    Args:
        mark: as `this_process` returned it there.
        since: when it was alive, in seconds since 1970.
    """
    here, pid = this_process(), str(mark.get("pid", ""))
    if mark.get("host") != here["host"] or not pid.isdigit() or os.name != "posix":
        return "elsewhere"
    if mark.get("boot_id", "") != here["boot_id"]:
        return "dead"
    began = _began(int(pid))
    return "dead" if began is None or began > since + _SLACK_SECONDS else "alive"


def is_gone(mark: Mapping[str, Any], since: float) -> bool:
    """Say whether a process surely does no more of what is about to begin, or has ended, here.

    Args:
        mark, since: see `state`. This very process counts as gone: it is done with it.
    """
    is_own = {**mark, "pid": str(mark.get("pid", ""))} == this_process()
    return is_own or state(mark, since) == "dead"


def _began(pid: int) -> float | None:
    """Return when a process began, in seconds since 1970; None where there is none.

    Without /proc only its being there is known, and it counts as old.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
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
