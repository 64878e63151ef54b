"""Ctrl-C and SIGTERM: what is finished is kept, and one line says what it is and how to resume."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A task was ended from outside; the text says what is kept and how to resume."""

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
