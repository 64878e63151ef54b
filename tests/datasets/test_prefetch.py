from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from irdream.audio import load_audio
from irdream.datasets.base import ExcerptFile, Excerpts
from irdream.datasets.cache import CachedLoader, log_mels
from irdream.datasets.prefetch import decoding
from irdream.errors import InputError

RATE_HZ = 22_050


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
    files = [
        ExcerptFile(path=Path(str(i)), name=str(i), labels=(), recording="") for i in range(count)
    ]
    return Excerpts(files, load)


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
    excerpts = numbered(23, Numbers(seconds=0.002))
    with decoding(excerpts, workers) as decoded:
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


def test_log_mels_hold_a_batch_and_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irdream.datasets.cache._MAX_BATCH", 4)
    load, held = Numbers(), []

    def analyze(waveform: Tensor) -> Tensor:
        time.sleep(0.002)
        held.append(load.held)
        return torch.zeros(len(waveform), 3, 5)

    log_mels(numbered(60, load), analyze, cache_dir=None, workers=2)
    assert len(held) == 15
    assert max(held) <= 4 + 1 + 2 * 2


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
    with decoding(numbered(100, load), 2) as decoded:
        next(decoded).result()
        assert threads()
    assert not threads()
    begun = len(load.begun)
    assert begun <= 1 + 2 * 2

    def fail() -> None:
        with decoding(numbered(100, load), 2) as decoded:
            next(decoded).result()
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert not threads()
    assert len(load.begun) <= begun + 1 + 2 * 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal to one thread here")
def test_an_interrupt_ends_the_wait() -> None:
    go_on, main = threading.Event(), threading.main_thread().ident
    assert main is not None

    def load(path: Path) -> Tensor:
        assert go_on.wait(10)
        return torch.zeros(1)

    def interrupt() -> None:
        time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.05)
        go_on.set()  # a file that is being read is read to its end

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


def test_the_samples_are_those_of_the_loader(tmp_path: Path, two_threads: None) -> None:
    rng = np.random.default_rng(0)
    for i in range(5):
        soundfile.write(tmp_path / str(i), rng.uniform(-0.5, 0.5, (44_100, 2)), 44_100, "PCM_16",
                        format="WAV")  # fmt: skip

    def load(path: Path) -> Tensor:
        return load_audio(tmp_path / path, sample_rate_hz=RATE_HZ)

    excerpts = numbered(5, load)
    with decoding(excerpts, 2) as decoded:
        for i, future in enumerate(decoded):
            assert torch.equal(future.result().waveform, excerpts[i].waveform)


def test_threads_that_cannot_write_their_cache_warn_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    for i in range(12):
        (tmp_path / str(i)).touch()
    load = CachedLoader(lambda path: torch.zeros(2), tmp_path / "cache", sample_rate_hz=8000)
    with decoding(numbered(12, lambda path: load(tmp_path / path)), 4) as decoded:
        assert len([future.result() for future in decoded]) == 12
    assert len(caplog.records) == 1


def test_no_workers() -> None:
    with (
        pytest.raises(InputError, match="workers=0; expected 1 or more, or None to choose"),
        decoding(numbered(1, Numbers()), 0),
    ):
        pass
