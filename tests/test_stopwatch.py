from types import SimpleNamespace

import pytest

from irdream import stopwatch
from irdream.stopwatch import Stopwatch


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
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=clock))
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
