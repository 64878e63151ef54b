"""Whether a process that left its mark is still alive.

The mark is its host, its process id and the boot id of its machine. On the same host another boot,
no process of that number, or one that began later, tell that it is gone. Of other hosts, and on
Windows, nothing is known.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import psutil

State = Literal["dead", "alive", "elsewhere"]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLACK_SECONDS = 5.0  # between the clocks of the kernel and of a store


def this_process() -> dict[str, str]:
    """Return the mark of this process: `host`, `pid`, and `boot_id`, empty where none is told."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "boot_id": boot}


def mark() -> str:
    """Return what `this_process` returns as a text."""
    return json.dumps(this_process(), sort_keys=True)


def state(mark: Mapping[str, Any], since: float) -> State:
    """Return what became of a process with this mark, which was alive at a time since 1970."""
    here, pid = this_process(), str(mark.get("pid", ""))
    if mark.get("host") != here["host"] or not pid.isdigit() or os.name != "posix":
        return "elsewhere"
    if mark.get("boot_id", "") != here["boot_id"]:
        return "dead"
    began = _began(int(pid))
    return "dead" if began is None or began > since + _SLACK_SECONDS else "alive"


def is_gone(mark: Mapping[str, Any], since: float) -> bool:
    """Say whether a process surely does no more of what is about to begin, or has ended, here.

    This very process counts as gone: it is done with it.
    """
    is_own = {**mark, "pid": str(mark.get("pid", ""))} == this_process()
    return is_own or state(mark, since) == "dead"


def _began(pid: int) -> float | None:
    """Return when a process began, in seconds since 1970; None where there is none."""
    try:
        process = psutil.Process(pid)
        is_waited_for = process.status() == psutil.STATUS_ZOMBIE
        return None if is_waited_for else process.create_time()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:  # it is there, and counts as old
        return 0.0
