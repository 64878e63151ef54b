"""How a process ends: whether one that left its mark is still alive, Ctrl-C and SIGTERM.

The mark is its host, its process id and the boot id of its machine. On the same host another boot,
no process of that number, or one that began later, tell that it is gone. Of other hosts, and on
Windows, nothing is known. At a signal what is finished is kept, and one line says what it is and
how to resume.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import psutil

State = Literal["dead", "alive", "elsewhere"]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLACK_SECONDS = 5.0  # between the clocks of the kernel and of a store


def this_process() -> dict[str, str]:
    """Return the mark of this process: `host`, `pid` and `boot_id`, empty where unknown."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "boot_id": boot}


def mark() -> str:
    """Return what `this_process` returns as a text."""
    return json.dumps(this_process(), sort_keys=True)


def state(mark: Mapping[str, Any], since: float) -> State:
    """Return the state of a process with this mark, alive at `since` (seconds since 1970)."""
    here, pid = this_process(), str(mark.get("pid", ""))
    if mark.get("host") != here["host"] or not pid.isdigit() or os.name != "posix":
        return "elsewhere"
    if mark.get("boot_id", "") != here["boot_id"]:
        return "dead"
    began = _began(int(pid))
    return "dead" if began is None or began > since + _SLACK_SECONDS else "alive"


def is_gone(mark: Mapping[str, Any], since: float) -> bool:
    """Say whether a process has surely ended on this machine; this very process counts as gone."""
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


# Signals

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A task was ended by a signal; the text says what is kept and how to resume."""

    def __init__(self, kept: str = "", *, number: int = signal.SIGINT) -> None:
        super().__init__(kept)
        self.number = number


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """Handle a signal as Python handles Ctrl-C: raise where the program is."""
    raise Interrupted(number=number)


@contextlib.contextmanager
def keeping(kept: Callable[[], str]) -> Iterator[None]:
    """Say what is kept when the block is interrupted, unless something in it has said so."""
    try:
        yield
    except KeyboardInterrupt as error:
        if isinstance(error, Interrupted) and str(error):
            raise
        number = getattr(error, "number", signal.SIGINT)
        raise Interrupted(kept(), number=number) from None


@contextlib.contextmanager
def stopping() -> Iterator[list[int]]:
    """Let the block come to a good end at the first signal; the second one interrupts it.

    Yields:
        The numbers of the signals that came; empty while nobody asked to stop. Always empty in
        a thread, and where signals are ignored or end the program unasked.
    """
    signals: list[int] = []
    usual = {number: signal.getsignal(number) for number in SIGNALS}
    usual = {number: handler for number, handler in usual.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        usual = {}

    def note(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        restore()
        os.write(2, b"stopping, what is finished is kept; once more stops at once\n")

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    for number in usual:
        signal.signal(number, note)
    try:
        yield signals
    finally:
        restore()
