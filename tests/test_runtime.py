import ctypes
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from irdream import runtime
from irdream.errors import InputError
from irdream.runtime import choose_device, keep_memory, set_seed, set_threads


@pytest.fixture
def _threads() -> Iterator[None]:
    """Give torch its threads back."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_chosen(cuda, mps, chosen, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(chosen)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "cuda:x", "CPU", "vulkan"])
def test_no_such_device(name: str) -> None:
    expected = rf"^device='{name}' cannot be used \(.+\); expected auto, cpu, cuda or cuda:1$"
    with pytest.raises(InputError, match=expected) as caught:
        choose_device(name)
    assert len(str(caught.value)) < 350  # of what torch says, the first sentence


@pytest.mark.usefixtures("_threads")
def test_as_many_threads_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(runtime, "cpu_count", lambda: 3)
    assert set_threads(2) == torch.get_num_threads() == 2
    assert set_threads(None) == 2  # the environment is obeyed, torch's threads are left alone


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize(
    ("slurm", "threads"), [(None, 3), ("2", 2), ("8", 3), ("", 3), ("0", 3), ("two", 3)]
)
def test_a_thread_for_each_core_that_may_be_used(slurm, threads, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    if slurm is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert set_threads(None) == threads


@pytest.mark.parametrize("count", [0, -1])
def test_no_threads(count: int) -> None:
    with pytest.raises(
        InputError, match=f"^count={count}; expected a whole number, at least 1, or null"
    ):
        set_threads(count)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_a_seed_sets_all_generators(seed: int) -> None:
    set_seed(seed)
    first = draw()
    set_seed(seed)
    assert draw() == first
    set_seed(seed + 1)
    assert not set(draw()) & set(first)


class Libc:
    """Remembers what it was told; `answer` is that of mallopt."""

    def __init__(self, answer: int) -> None:
        self.answer, self.told = answer, {}

    def mallopt(self, name: int, value: int) -> int:
        self.told[name] = value
        return self.answer


@pytest.mark.parametrize(("answer", "kept"), [(1, True), (0, False)])
def test_the_c_library_is_told_to_keep_memory(answer, kept, monkeypatch) -> None:
    libc = Libc(answer)
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: libc)
    assert keep_memory() is kept
    # M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h
    assert libc.told == {-4: 0, -1: 2**31 - 1, -2: 2**28}


def test_another_c_library_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(runtime.ctypes, "CDLL", missing)
    assert keep_memory() is False
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda name: object())  # musl has no mallopt
    assert keep_memory() is False


def test_bfloat16_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, bool] = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    cpu = torch.device("cpu")
    assert not runtime.has_bfloat16(cpu)
    known["avx512_bf16"] = True
    assert runtime.has_bfloat16(cpu)
    assert runtime.has_bfloat16(torch.device("cuda"))
    assert not runtime.has_bfloat16(torch.device("mps"))
