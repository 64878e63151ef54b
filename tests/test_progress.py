from __future__ import annotations

from collections.abc import Iterator

import pytest
import rich.progress

from irdream.progress import DreamBar, byte_bar, dream_bar, track


def test_what_is_tracked_comes_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "reading", total=3)) == ["a", "b", "c"]
    assert list(track([], "reading", total=0)) == []
    assert capsys.readouterr() == ("", "")  # nobody watches


def test_bars_are_silent_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with byte_bar() as bar:
        bar.advance(bar.add_task("download", total=10), 5)
    with dream_bar(5) as dreams:
        dreams.started()(1, 2)
        dreams.ended(5)
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
    dreams = DreamBar(bar, total=7)
    task = bar.tasks[0]
    show = dreams.started()
    show(3, 1)
    assert (task.completed, task.total, task.description) == (1, 7, "dreaming, step 3")
    dreams.ended(4)
    assert task.completed == 4
    dreams.started()(1, 2)
    assert (task.completed, task.description) == (6, "dreaming, step 1")
    dreams.ended(3)
    assert task.completed == 7
