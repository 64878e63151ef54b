"""Decoding ahead, and what is said of excerpts."""

import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from irdream.datasets.base import (
    Excerpt,
    ExcerptFile,
    Excerpts,
    counted,
    decoding,
    warn_long,
    warn_skipped,
)
from irdream.datasets.cache import log_mels
from irdream.errors import InputError


class Numbers:
    """Reads file i as [i, i], later ones sooner; knows what was begun and what is still held."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.begun: list[int] = []
        self.held = 0
        self.lock = threading.Lock()

    def __call__(self, path: Path) -> Tensor:
        number = int(path.name)
        with self.lock:
            self.begun.append(number)
            self.held += 1
        time.sleep(self.seconds * (3 - number % 4))
        waveform = torch.full((2,), float(number))
        weakref.finalize(waveform, self._let_go)
        return waveform

    def _let_go(self) -> None:
        with self.lock:
            self.held -= 1


def numbered(count: int, load) -> Excerpts:
    names = map(str, range(count))
    return Excerpts(
        [ExcerptFile(path=Path(n), name=n, labels=(), recording="") for n in names], load
    )


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("irdream-decoding")]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Have torch compute with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_excerpts_come_in_order(workers: int) -> None:
    with decoding(numbered(23, Numbers(seconds=0.002)), workers) as decoded:
        found = [future.result() for future in decoded]
    assert [excerpt.name for excerpt in found] == [str(i) for i in range(23)]
    assert [excerpt.waveform[0].item() for excerpt in found] == list(range(23))


@pytest.mark.parametrize("workers", [1, 3])
def test_few_excerpts_are_held_at_a_time(workers: int) -> None:
    load = Numbers()
    with decoding(numbered(40, load), workers) as decoded:
        for taken, future in enumerate(decoded, start=1):
            future.result()
            time.sleep(0.002)  # a slow caller
            assert len(load.begun) <= taken + 2 * workers
            assert load.held <= 2 * workers + 1
    del future
    gc.collect()
    assert load.held == 0


def test_an_error_comes_in_its_place() -> None:
    def load(path: Path) -> Tensor:
        if path.name in ("3", "5"):
            raise InputError(f"{path.name} is cut off")
        time.sleep(0.005)
        return torch.zeros(1)

    found = []
    with decoding(numbered(8, load), 3) as decoded:
        for future in decoded:
            try:
                found.append(future.result().name)
            except InputError as error:
                found.append(str(error))
    assert found == ["0", "1", "2", "3 is cut off", "4", "5 is cut off", "6", "7"]
    with pytest.raises(InputError, match="3 is cut off"):  # the first one, though 5 may fail sooner
        log_mels(numbered(8, load), lambda x: x[:, None], cache_dir=None, workers=4)
    assert not threads()


def test_no_thread_stays_when_the_caller_leaves() -> None:
    load = Numbers(seconds=0.002)

    def fail() -> None:
        with decoding(numbered(100, load), 2) as decoded:
            next(decoded).result()
            assert threads()
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert not threads()
    assert len(load.begun) <= 1 + 2 * 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal to one thread here")
def test_an_interrupt_ends_the_wait() -> None:
    resume, main = threading.Event(), threading.main_thread().ident
    assert main is not None

    def load(path: Path) -> Tensor:
        assert resume.wait(10)
        return torch.zeros(1)

    def interrupt() -> None:
        time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.05)
        resume.set()  # a file that is being read is read to its end

    other = threading.Thread(target=interrupt)

    def wait() -> None:
        with decoding(numbered(50, load), 2) as decoded:
            other.start()
            next(decoded).result()

    with pytest.raises(KeyboardInterrupt):
        wait()
    other.join()
    assert not threads()


def test_each_thread_computes_alone(two_threads: None) -> None:
    both = threading.Barrier(2, timeout=10)  # by default as many as torch computes with
    counts = []

    def load(path: Path) -> Tensor:
        both.wait()
        counts.append(torch.get_num_threads())
        return torch.zeros(1)

    with decoding(numbered(4, load)) as decoded:
        for future in decoded:
            future.result()
    assert counts == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


def test_what_is_skipped_is_told_with_the_first_reasons(caplog: pytest.LogCaptureFixture) -> None:
    warn_skipped([])
    assert not caplog.text
    warn_skipped([*(f"'{i}' is silent" for i in range(30)), "'0' is silent"])
    lines = caplog.messages[0].split("\n  ")
    assert lines[:2] == ["skipped 30 excerpts:", "'0' is silent"]
    assert lines[-2:] == ["'19' is silent", "and 10 more"]


def test_counts() -> None:
    said = [counted(n, "step") for n in (1, 0, 6705)]
    assert said == ["1 step", "0 steps", "6705 steps"]


def test_a_long_sound_says_what_memory_it_takes_and_the_remedy(caplog) -> None:
    excerpts = [
        Excerpt(waveform=torch.zeros(60 * minutes), labels=(), name=f"m{minutes}")
        for minutes in (3, 12)
    ]
    warn_long(excerpts[:1], 1, gb_a_minute=0.1)
    assert caplog.messages == []
    warn_long(excerpts, 1, gb_a_minute=0.1)
    warn_long(excerpts[:1], 1, gb_a_minute=1e6)  # more than any machine has
    first, second = caplog.messages
    assert "'m12' has 12 minutes, for which about 1.2 GB of memory are needed" in first
    assert "start.offset=60 start.seconds=30" in first
    assert "'m3' has 3 minutes, for which about 3000000.0 GB" in second
