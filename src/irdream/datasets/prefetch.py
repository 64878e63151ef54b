"""Excerpts decoded ahead, on threads, while the caller works on those before.

libsndfile, numpy and torch let go of Python's lock while they work, so threads decode side by
side; processes would have to import torch first and to send every waveform. Each thread computes
alone: excerpts are so short that torch's own threads would wait for each other longer than they
work, several times longer where the cores have other things to do.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from threadpoolctl import threadpool_limits

from irdream.datasets.base import Excerpt, Excerpts
from irdream.errors import InputError


@contextlib.contextmanager
def decoding(excerpts: Excerpts, workers: int | None = None) -> Iterator[Iterator[Future[Excerpt]]]:
    """Have excerpts decoded ahead by threads that end with the block.

    The block gets an iterator of futures, one for each excerpt, in order: `result()` waits for
    the excerpt and returns it, or raises what decoding it raised. Not more than two for each
    thread are decoded or begun before the caller asks for the next one.

    Args:
        excerpts: indexed from several threads at once.
        workers: how many threads; None: as many as torch computes with, which
            `runtime.set_threads` makes one for each core that the process may use.

    Raises:
        InputError: when `workers` is below one.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}; expected 1 or more, or None to choose")
    workers = workers or torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "irdream-decoding", initializer=_compute_alone)
    try:
        yield _in_order(pool, excerpts, waiting_at_most=2 * workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, excerpts: Excerpts, *, waiting_at_most: int
) -> Iterator[Future[Excerpt]]:
    waiting: deque[Future[Excerpt]] = deque()
    for i in range(len(excerpts)):
        waiting.append(pool.submit(excerpts.__getitem__, i))
        if len(waiting) > waiting_at_most:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _compute_alone() -> None:
    """Let torch use no other threads in this one; `torch.set_num_threads` would change all."""
    torch.get_num_threads()  # takes over the setting of the process, once in each thread
    threadpool_limits(1, user_api="openmp")
