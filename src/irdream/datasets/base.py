"""What a data set gives: two parts, each a list of excerpts that are decoded on demand.

A data set is any object with `part("training")` and `part("test")`, each an `Excerpts`, which knows
its files and labels without decoding anything.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import psutil
import torch
from torch import Tensor

from irdream.audio import load_audio

PartName = Literal["training", "test"]

_REASONS = 20  # that are listed
_LONG_MINUTES = 10.0
_FOLDERS = 12  # that are named

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExcerptFile:
    """One file of a data set, before decoding.

    `labels` are instrument codes (empty: unknown); `recording` is the same for excerpts
    cut from one recording, which a split must keep together; `source` is the same for recordings
    of one player, where that is known; `name` is unique in its part.
    """

    path: Path
    name: str
    labels: tuple[str, ...]
    recording: str
    genre: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """One decoded excerpt: waveform (samples,), mono float32, peak 1 (Han et al. 2016).

    Where it is the beginning of a file that can be read again with all channels, `path` says which.
    """

    waveform: Tensor
    labels: tuple[str, ...]
    name: str
    recording: str = ""
    path: Path | None = None


class Excerpts(Sequence[Excerpt]):
    """The excerpts of one part, decoded when indexed by `load`, which reads one file."""

    def __init__(self, files: Sequence[ExcerptFile], load: Callable[[Path], Tensor]) -> None:
        self.files = list(files)
        self.load = load

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Excerpt:  # type: ignore[override]
        file, waveform = self.files[i], self.load(self.files[i].path)
        name, recording = file.name, file.recording
        return Excerpt(waveform=waveform, labels=file.labels, name=name, recording=recording)

    def subset(self, indices: Sequence[int]) -> Excerpts:
        """Return the excerpts at `indices`, in that order."""
        return Excerpts([self.files[i] for i in indices], self.load)


def audio_loader(sample_rate_hz: int) -> Callable[[Path], Tensor]:
    """Return what reads the files of a data set; who uses them says how long they must be."""
    return partial(load_audio, sample_rate_hz=sample_rate_hz)


class DataSet(Protocol):
    """What `task=...` expects of `dataset=...`."""

    name: str

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part, its audio read at `sample_rate_hz`; empty when there is none."""
        ...


@contextlib.contextmanager
def decoding(excerpts: Excerpts, workers: int | None = None) -> Iterator[Iterator[Future[Excerpt]]]:
    """Have excerpts decoded ahead by threads that end with the block.

    The block gets an iterator of futures, one for each excerpt, in order; not more than two for
    each thread are decoded or begun ahead. Each thread computes alone: excerpts are so short that
    torch's own threads would wait for each other longer than they work.
    """
    workers = workers or torch.get_num_threads()

    def in_order() -> Iterator[Future[Excerpt]]:
        waiting: deque[Future[Excerpt]] = deque()
        for i in range(len(excerpts)):
            waiting.append(pool.submit(excerpts.__getitem__, i))
            if len(waiting) > 2 * workers:
                yield waiting.popleft()
        yield from waiting

    pool = ThreadPoolExecutor(workers, "irdream-decoding", initializer=_compute_alone)
    try:
        yield in_order()
    finally:
        pool.shutdown(cancel_futures=True)


def _compute_alone() -> None:
    """Let torch use no other threads in this one; `torch.set_num_threads` would change all."""
    from threadpoolctl import threadpool_limits

    torch.get_num_threads()  # takes over the setting of the process, once in each thread
    threadpool_limits(1, user_api="openmp")


def listed(dataset: DataSet, part: PartName, *, sample_rate_hz: int) -> Sequence[ExcerptFile]:
    """Return the files of one part, also of one that is still to be rendered."""
    own = getattr(dataset, "listed", None)
    return dataset.part(part, sample_rate_hz=sample_rate_hz).files if own is None else own(part)


def has_no_test(dataset: DataSet, files: Sequence[ExcerptFile], sample_rate_hz: int) -> bool:
    """Say whether all files of a test part are those of the training part, too."""
    training = {file.path for file in listed(dataset, "training", sample_rate_hz=sample_rate_hz)}
    return all(file.path in training and file.path.is_file() for file in files)


def multi_hot(labels: Sequence[Sequence[str]], instruments: Sequence[str]) -> Tensor:
    """Return labels as (excerpts, instruments), 1 where an instrument is named."""
    table = torch.zeros(len(labels), len(instruments))
    for row, codes in enumerate(labels):
        for code in codes:
            table[row, instruments.index(code)] = 1.0
    return table


# What is said of a data set


def announce(dataset: DataSet) -> None:
    """Print what a data set says it found, where it says anything."""
    if describe := getattr(dataset, "summary", None):
        print(f"{dataset.name}: {describe()}")


def counted(count: int, thing: str) -> str:
    """Return `1 excerpt`, `6705 excerpts`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def part_words(
    files: Sequence[ExcerptFile], part: PartName, dataset: DataSet, sample_rate_hz: int
) -> str:
    """Return `110 excerpts, the test part of 'soundfont'`."""
    where = f"the {part} part of {dataset.name!r}"
    if part == "test" and has_no_test(dataset, files, sample_rate_hz):
        where = f"all of {dataset.name!r}, which has no test part"
    return f"{counted(len(files), 'excerpt')}, {where}"


def tell_skipped(reasons: Sequence[str]) -> None:
    """Warn of excerpts that are left out: how many, and why of the first ones."""
    lines = list(dict.fromkeys(reasons))
    shown = lines[:_REASONS] + [f"and {len(lines) - _REASONS} more"] * (len(lines) > _REASONS)
    if shown:
        logger.warning("skipped %s:\n  %s", counted(len(reasons), "excerpt"), "\n  ".join(shown))


def tell_long(excerpts: Sequence[Excerpt], sample_rate_hz: int, *, gb_a_minute: float) -> None:
    """Warn, before the work begins, of what memory the longest sound takes, with the remedy."""
    longest = max(excerpts, key=lambda one: len(one.waveform))
    minutes = len(longest.waveform) / sample_rate_hz / 60
    needed, free = minutes * gb_a_minute, psutil.virtual_memory().available / 1e9
    if minutes > _LONG_MINUTES or needed > free:
        logger.warning(
            "%r has %.0f minutes, for which about %.1f GB of memory are needed (%.1f GB are free); "
            "start.offset=60 start.seconds=30 takes 30 s of it, after the first minute",
            longest.name, minutes, needed, free,
        )  # fmt: skip


def unlabelled_words(files: Sequence[ExcerptFile]) -> str:
    """Say how many files have no label and in which folders; nothing where all have one."""
    without = [file.path for file in files if not file.labels]
    if not without:
        return ""
    every = os.path.commonpath([file.path.absolute().parent for file in files])
    return (
        f"{len(without)} of {len(files)} files have no label: {folders_of(without, below=every)}; "
        "labels are the names of folders, or stand in dataset.labels_csv"
    )


def warn_unlabelled(files: Sequence[ExcerptFile], fate: str) -> None:
    """Warn of files without a label, saying where they are and what becomes of them."""
    if words := unlabelled_words(files):
        logger.warning("%s: %s", fate, words)


def folders_of(files: Sequence[Path], below: str | Path = "") -> str:
    """Return `40 in 'drums', 4 in 'bass'`: the folders of files, or those they are in `below`."""
    parents = [file.absolute().parent for file in files]
    if below:
        parents = [Path(below, *p.relative_to(below).parts[:1]) for p in parents]
    counts = Counter(parent.name for parent in parents)
    named = [f"{count} in {name!r}" for name, count in counts.most_common(_FOLDERS)]
    more = [f"{len(counts) - _FOLDERS} more folders"] * (len(counts) > _FOLDERS)
    return ", ".join(named + more)
