"""A tracker that is opened beside the work does what it was asked, in order."""

import threading
from typing import Any

import pytest

from irdream.errors import InputError
from irdream.tracking import NullTracker
from irdream.tracking.tracker import BackgroundTracker


class Noted(NullTracker):
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.run_id = "7"

    def log_metrics(self, metrics: Any, step: int = 0) -> None:
        self.asked.append(metrics)

    def set_tags(self, tags: Any) -> None:
        if "bad" in tags:
            raise InputError("no such tag")
        self.asked.append(tags)

    def log_file(self, path: Any, folder: str = "") -> None:
        self.asked.append(path)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.asked.append(kind)


def test_what_is_asked_before_it_is_open_is_done_in_order_and_files_are_waited_for() -> None:
    noted, may_open = Noted(), threading.Event()

    def opened() -> Any:
        may_open.wait()
        return noted

    with BackgroundTracker(opened) as tracker:
        tracker.log_metrics({"a": 1.0})
        tracker.set_tags({"b": "c"})
        assert noted.asked == []
        may_open.set()
        tracker.log_file("a.csv")  # type: ignore[arg-type]
        assert noted.asked == [{"a": 1.0}, {"b": "c"}, "a.csv"]
        tracker.log_metrics({"d": 2.0})
        assert noted.asked[-1] == {"d": 2.0}
        assert tracker.run_id == "7"
    assert noted.asked[-1] is None


def test_an_error_ends_the_run_that_it_belongs_to() -> None:
    tracker = BackgroundTracker(Noted)
    tracker.set_tags({"bad": "tag"})
    with pytest.raises(InputError, match="no such tag"):
        tracker.flush()


def test_where_it_cannot_be_opened_the_first_error_is_the_one_to_be_read() -> None:
    def opened() -> Any:
        raise InputError("no store")

    tracker = BackgroundTracker(opened)
    assert tracker.run_id is None
    with pytest.raises(InputError, match="no store"):
        tracker.log_metrics({})
    with pytest.raises(RuntimeError, match="first"), BackgroundTracker(opened):
        raise RuntimeError("first")
    with pytest.raises(InputError, match="no store"), BackgroundTracker(opened):
        pass


def test_a_run_that_fails_before_it_is_open_is_closed_as_failed() -> None:
    noted = Noted()
    with pytest.raises(RuntimeError, match="oops"), BackgroundTracker(lambda: noted):
        raise RuntimeError("oops")
    assert noted.asked == [RuntimeError]
