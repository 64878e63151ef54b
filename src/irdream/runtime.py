"""Where and how to compute: device, threads, seed."""

from __future__ import annotations

import ctypes
import functools
import os
import random

import numpy as np
import torch
from joblib import cpu_count
from torch import Tensor

from irdream.arguments import Count, Natural, Seed, checked
from irdream.errors import InputError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def choose_device(name: str | Natural) -> torch.device:
    """Return a device: "auto" is the first CUDA device, or Apple's, or the CPU; refuse others."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise InputError(
            f"device={name!r} cannot be used ({reason}); expected auto, cpu, cuda or cuda:1"
        ) from error
    return device


@checked
def set_threads(count: Count | None) -> int:
    """Let torch use `count` threads, by default one for each core that this process may use.

    Threads for cores that a container, a scheduler or the process's affinity keeps away make
    convolutions slower. OMP_NUM_THREADS is obeyed when it is set and `count` is not: that is how
    joblib and Ray divide the cores among their jobs.
    """
    if count is None and not os.environ.get("OMP_NUM_THREADS"):
        count = cores()
    if count is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def cores() -> int:
    """Return how many cores this process may use: by affinity, cgroup quota, and Slurm.

    Slurm gives a task its CPUs by SLURM_CPUS_PER_TASK; not every cluster binds it to them.
    """
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    mine = cpu_count()
    return min(mine, int(granted)) if granted.isdecimal() and int(granted) else mine


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 makes a network faster on `device`: on CUDA, and on newer processors.

    On a processor with AVX-512's bfloat16 Han's network trains 1.6 times as fast.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


@functools.cache
def widest_float(device_type: str) -> torch.dtype:
    """Return float64, or float32 on a device that has no other, such as Apple's."""
    try:
        return torch.zeros(1, dtype=torch.float64, device=device_type).dtype
    except (TypeError, RuntimeError):
        return torch.float32


@checked
def set_seed(seed: Seed) -> None:
    """Seed torch, numpy and Python alike."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def keep_memory() -> bool:
    """Let the C library keep freed memory instead of giving it back to the system.

    Each step frees and takes the same activations; giving their pages back and faulting them
    in again costs a third of the speed of training on a CPU. Only glibc can be told so.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        never, largest, block = 0, 2**31 - 1, 2**28
        settings = ((_M_MMAP_MAX, never), (_M_TRIM_THRESHOLD, largest), (_M_TOP_PAD, block))
        return all([libc.mallopt(name, value) for name, value in settings])
    except (OSError, AttributeError):
        return False


class DeferredRead:
    """A count and a flag on the device, asked for in one step and read in that or a later one.

    On CUDA reading them at once would make the host wait for all that was asked before.
    """

    def __init__(self) -> None:
        self.pending: tuple[Tensor, torch.cuda.Event] | None = None

    def read(self, count: Tensor, fine: Tensor) -> tuple[int, bool] | None:
        """Return a count and a flag, on CUDA those of an earlier step; None: not known yet."""
        both, read = torch.stack([count, fine.to(count.dtype)]), None
        if not both.is_cuda:
            read = both.tolist()
        elif self.pending is not None and self.pending[1].query():
            read, self.pending = self.pending[0].tolist(), None
        if both.is_cuda and self.pending is None:
            sent, event = both.to("cpu", non_blocking=True), torch.cuda.Event()
            event.record()
            self.pending = sent, event
        return None if read is None else (read[0], bool(read[1]))
