"""A tracker that is opened in a thread, so that nothing waits for MLflow's import and the store."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irdream.tracking import Tracker

_BEGINS_AFTER_SECONDS = 2.0  # when a first step has been made, since an import slows it down
_TURN_SECONDS = 1e-4  # that an import may keep the interpreter from the steps beside it


class BackgroundTracker:
    """Opens a tracker, by `opened`, in a thread of its own; see `Tracker` for its methods.

    What is asked before it is open is done once it is, in that order. Files are waited for, since
    they may change, and so are `register`, `flush` and the end. Any method may raise what opening
    it or an earlier call raised.
    """

    def __init__(self, opened: Callable[[], Tracker]) -> None:
        self._opened = opened
        self._tracker: Any = None
        self._error: BaseException | None = None
        self._calls: deque[Callable[[Any], object]] = deque()
        self._lock = threading.Lock()
        self._needed = threading.Event()
        self._thread = threading.Thread(target=self._open, name="tracker", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        self._needed.wait(_BEGINS_AFTER_SECONDS)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_TURN_SECONDS)
        try:
            tracker = self._opened()
            while True:
                with self._lock:
                    if not self._calls:
                        self._tracker = tracker
                        return
                    call = self._calls.popleft()
                call(tracker)
        except BaseException as error:
            self._error = error
        finally:
            sys.setswitchinterval(interval)

    def _wait(self) -> None:
        self._needed.set()
        self._thread.join()

    def _now(self) -> Any:
        """Wait until it is open and has done all that it was asked."""
        self._wait()
        if self._error is not None:
            raise self._error
        return self._tracker

    def _later(self, name: str, *given: Any, **named: Any) -> None:
        with self._lock:
            if self._tracker is None and self._error is None:
                self._calls.append(lambda tracker: getattr(tracker, name)(*given, **named))
                return
        getattr(self._now(), name)(*given, **named)

    @property
    def run_id(self) -> str | None:
        """The store's name for this run; None where it could not be opened."""
        self._wait()
        return None if self._tracker is None else self._tracker.run_id

    def __getattr__(self, name: str) -> Any:
        if name in ("log_params", "log_metrics", "log_text", "log_data", "set_tags"):
            return partial(self._later, name)
        return getattr(self._now(), name)

    def __enter__(self) -> Tracker:
        return self  # type: ignore[return-value]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self.run_id is not None:
            self._now().__exit__(kind, error, trace)
