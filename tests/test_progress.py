from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import rich.progress

from irdream import progress
from irdream.progress import DreamBar, Stopwatch, byte_bar, dream_bar, track


def test_what_is_tracked_comes_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "reading", total=3)) == ["a", "b", "c"]
    assert list(track([], "reading", total=0)) == []
    assert capsys.readouterr() == ("", "")  # nobody watches


def test_bars_are_silent_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with byte_bar() as bar:
        bar.advance(bar.add_task("download", total=10), 5)
    with dream_bar(5, steps=10) as dreams:
        dreams.show(1, items=5, finished=2)
        assert list(dreams.writing("abcde")) == list("abcde")
    assert capsys.readouterr() == ("", "")


def test_an_error_ends_the_bar() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        list(track(broken(), "reading", total=2))
    assert list(track([1], "reading", total=1)) == [1]  # no bar is left that stands in the way


def test_dreams_are_counted_over_batches() -> None:
    bar = rich.progress.Progress(disable=True)
    dreams = DreamBar(bar, total=7, steps=10)
    task = bar.tasks[0]
    dreams.show(5, items=4, finished=2)
    assert (task.completed, task.total, task.description) == (3, 7, "dreaming, step 5")
    assert list(dreams.writing("abcd")) == list("abcd")
    assert (task.completed, task.description) == (4, "writing 4 of 4")
    dreams.show(10, items=3, finished=0)
    assert task.completed == 7


def test_the_bar_moves_where_no_dream_is_finished_before_the_last_step() -> None:
    bar = rich.progress.Progress(disable=True)
    dreams = DreamBar(bar, total=2, steps=4)
    seen = []
    for step in range(5):
        dreams.show(step, items=2, finished=0)
        seen.append(bar.tasks[0].completed)
    assert seen == [0, 0.5, 1, 1.5, 2]


class Clock:
    """Time that goes on only when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=clock))
    return clock


def test_phases_add_up_and_the_longest_is_told_first(clock: Clock) -> None:
    watch = Stopwatch()
    for seconds in (1.0, 2.0):
        with watch("reading"):
            clock.wait(seconds)
    with watch("dreaming"):
        clock.wait(6.04)
    clock.wait(1.0)
    assert watch.seconds["reading"] == 3.0
    assert watch.summary() == "10.0 s: dreaming 6.0, reading 3.0, other 1.0"


def test_what_was_done_before_counts_as_other(clock: Clock) -> None:
    watch = Stopwatch(started=clock.now - 4.0)
    assert watch.summary() == "4.0 s: other 4.0"
    with watch("dreaming"):
        clock.wait(1.0)
    assert watch.total() == 5.0
    assert watch.summary() == "5.0 s: dreaming 1.0, other 4.0"


def test_a_phase_that_fails_counts_too(clock: Clock) -> None:
    watch = Stopwatch()

    def fail() -> None:
        clock.wait(1.5)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), watch("dreaming"):
        fail()
    assert watch.seconds == {"dreaming": 1.5}
