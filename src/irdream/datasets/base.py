"""What a data set gives: two parts, each a list of excerpts that are decoded on demand.

A data set is any object with `part("training")` and `part("test")`, each an `Excerpts`, which knows
its files and labels without decoding anything. Where it does not say its `classes`, they are the
eleven instruments of IRMAS. Labels that mean the same instrument (`flute`, `flu`) are the same.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import psutil
import torch
from torch import Tensor

from irdream.audio import load_audio
from irdream.errors import InputError
from irdream.instruments import CODES, find, in_words

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

    Where it is of a file that can be read again with all channels, `path` says which, and `offset`
    where in it the excerpt begins, in seconds.
    """

    waveform: Tensor
    labels: tuple[str, ...]
    name: str
    recording: str = ""
    path: Path | None = None
    offset: float = 0.0


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
    """Say whether all files of a test part are in the training part, too."""
    training = {file.path for file in listed(dataset, "training", sample_rate_hz=sample_rate_hz)}
    is_same = all(file.path in training for file in files)
    return is_same and any(file.path.is_file() for file in files)


def multi_hot(labels: Sequence[Sequence[str]], instruments: Sequence[str]) -> Tensor:
    """Return labels as (excerpts, instruments), 1 where an instrument is named."""
    table = torch.zeros(len(labels), len(instruments))
    for row, codes in enumerate(labels):
        for code in codes:
            table[row, instruments.index(code)] = 1.0
    return table


# Data sets made of others


def labels_of(dataset: DataSet) -> tuple[str, ...]:
    """Return the labels of a recognizer for a data set; raise InputError when there is only one."""
    labels: list[str] = list(getattr(dataset, "classes", ()) or CODES)
    if len(labels) < 2:
        raise InputError(
            f"all labels of {dataset.name!r} are {labels[0]!r}; expected at least two classes, "
            "such as a folder for each"
        )
    return tuple(labels)


class Labelled:
    """A data set with the labels of a recognizer; other attributes are those of the data set.

    Labels that the recognizer lacks are left out, and files that have no other: one line says so.
    """

    name: str  # of the data set, as all that is not here

    def __init__(self, dataset: DataSet, labels: Sequence[str], sample_rate_hz: int) -> None:
        self.dataset = dataset
        self.labels, self._rate_hz = tuple(labels), sample_rate_hz
        self._reported: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["dataset"], name)

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part; raise InputError where the recognizer has none of its labels."""
        excerpts = self.dataset.part(name, sample_rate_hz=sample_rate_hz)
        return Excerpts(self._known(name, excerpts.files), excerpts.load)

    def listed(self, name: PartName) -> list[ExcerptFile]:
        """Return the files of one part, also of one that is still to be rendered."""
        return self._known(name, listed(self.dataset, name, sample_rate_hz=self._rate_hz))

    def _known(self, part: PartName, files: Sequence[ExcerptFile]) -> list[ExcerptFile]:
        given = sorted({label for file in files for label in file.labels})
        own = {label: find(label, self.labels) for label in given}
        lacking = [label for label in given if own[label] is None]
        if given and lacking == given:
            raise InputError(
                f"labels in the {part} part of {self.name!r} that the recognizer does not know: "
                f"{in_words(lacking)}; expected some of {in_words(self.labels)}"
            )
        kept = []
        for file in files:
            labels = tuple(dict.fromkeys(filter(None, map(own.get, file.labels))))
            if labels or not file.labels:
                kept.append(replace(file, labels=labels))
        if lacking and part not in self._reported:
            self._reported.add(part)
            logger.warning(
                "the recognizer does not know %s: %d of %d files in the %s part of %r have no "
                "other label and are left out",
                in_words(lacking), len(files) - len(kept), len(files), part, self.name,
            )  # fmt: skip
        return kept


@dataclass(kw_only=True, eq=False)
class Mixture:
    """The excerpts of several data sets.

    Raises InputError without a data set, or for a weight of one that there is not.
    """

    datasets: Mapping[str, DataSet]  # by the names that begin the names of their excerpts
    weights: Mapping[str, int] | None = None  # how often training excerpts are used, each time
    # augmented anew; 1 where a data set is not named
    name: str = "mixture"

    def __post_init__(self) -> None:
        self.datasets, weights = dict(self.datasets), dict(self.weights or {})
        self.weights = weights
        if not self.datasets:
            raise InputError("dataset.datasets is empty; expected data sets by name")
        for key, weight in weights.items():
            if key not in self.datasets or not isinstance(weight, int) or weight < 0:
                raise InputError(
                    f"dataset.weights: {key}={weight}; expected whole numbers of at least 0 for "
                    f"{', '.join(self.datasets)}"
                )

    @property
    def about(self) -> str:
        """What all of them are, for the card of a checkpoint."""
        return "; ".join(getattr(one, "about", one.name) for one in self.datasets.values())

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of all of them, sorted."""
        every = [label for one in self.datasets.values() for label in labels_of(one)]
        return tuple(sorted({find(label) or label for label in every}))

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part of all of them."""
        loads, files = {}, []
        for key, dataset in self.datasets.items():
            excerpts = dataset.part(name, sample_rate_hz=sample_rate_hz)
            loads |= {file.path: excerpts.load for file in excerpts.files}
            files += self._named(key, name, excerpts.files)

        def load(path: Path) -> Tensor:
            return loads[path](path)

        return Excerpts(files, load)

    def listed(self, name: PartName) -> list[ExcerptFile]:
        """Return the files of one part, rendered or not."""
        return [
            file
            for key, dataset in self.datasets.items()
            for file in self._named(key, name, listed(dataset, name, sample_rate_hz=22_050))
        ]

    def to_prepare(self) -> str:
        """Say what `prepare` would do; nothing where it is done."""
        return "; ".join(filter(None, self._each("to_prepare")))

    def prepare(self) -> None:
        self._each("prepare")

    def _each(self, name: str) -> list[Any]:
        """Call the method of that name of the data sets that have it."""
        return [getattr(one, name)() for one in self.datasets.values() if hasattr(one, name)]

    def _named(self, key: str, part: str, files: Sequence[ExcerptFile]) -> list[ExcerptFile]:
        times = (self.weights or {}).get(key, 1) if part == "training" else 1
        return [
            replace(
                file,
                name=f"{key}/{file.name}" + (f" ({k + 1})" if k else ""),
                recording=f"{key}/{file.recording}",
                source=file.source and f"{key}/{file.source}",
            )
            for k in range(times)
            for file in files
        ]


# What is said of a data set


def announce(dataset: DataSet) -> None:
    """Print the summary of a data set, where it has one."""
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


def warn_skipped(reasons: Sequence[str]) -> None:
    """Warn of excerpts that are left out: how many, and why of the first ones."""
    lines = list(dict.fromkeys(reasons))
    shown = lines[:_REASONS] + [f"and {len(lines) - _REASONS} more"] * (len(lines) > _REASONS)
    if shown:
        logger.warning("skipped %s:\n  %s", counted(len(lines), "excerpt"), "\n  ".join(shown))


def warn_long(excerpts: Sequence[Excerpt], sample_rate_hz: int, *, gb_a_minute: float) -> None:
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
    """Return `40 in 'drums', 4 in 'bass'`: the files' own folders, or the first ones `below`."""
    parents = [file.absolute().parent for file in files]
    if below:
        parents = [Path(below, *p.relative_to(below).parts[:1]) for p in parents]
    counts = Counter(parent.name for parent in parents)
    named = [f"{count} in {name!r}" for name, count in counts.most_common(_FOLDERS)]
    more = [f"{len(counts) - _FOLDERS} more folders"] * (len(counts) > _FOLDERS)
    return ", ".join(named + more)
