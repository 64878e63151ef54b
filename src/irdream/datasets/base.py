"""What a data set gives: two parts, each a list of excerpts that are decoded on demand.

A data set is any object with `part("training")` and `part("test")`, each an `Excerpts`.
The parts know their files, labels and recordings without decoding anything, so that a
split by recording costs nothing; audio is read when an excerpt is indexed.

A fingerprint says whether two runs had the same sounds, wherever these lie.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from irdream.contents import content_of
from irdream.files import as_text
from irdream.fingerprint import fingerprint_of

PartName = Literal["training", "test"]

_REASONS = 20  # that are listed
_FOLDERS = 12  # that are named

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExcerptFile:
    """One file of a data set, before decoding.

    `labels` are instrument codes (empty: unknown); `recording` is the same for excerpts
    cut from one recording, which a split must keep together; `name` is unique in its part.
    """

    path: Path
    name: str
    labels: tuple[str, ...]
    recording: str
    genre: str = ""


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """One decoded excerpt: waveform (samples,), mono float32, peak 1 (Han et al. 2016)."""

    waveform: Tensor
    labels: tuple[str, ...]
    name: str
    recording: str = ""


class Excerpts(Sequence[Excerpt]):
    """The excerpts of one part of a data set, decoded when indexed.

    Args:
        files: what there is, in a fixed order.
        load: reads one file as a mono waveform (samples,) at the wanted sample rate.
    """

    def __init__(self, files: Sequence[ExcerptFile], load: Callable[[Path], Tensor]) -> None:
        self.files = list(files)
        self.load = load

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Excerpt:  # type: ignore[override]
        file = self.files[i]
        return Excerpt(
            waveform=self.load(file.path),
            labels=file.labels,
            name=file.name,
            recording=file.recording,
        )

    def __iter__(self) -> Iterator[Excerpt]:
        return (self[i] for i in range(len(self)))

    def subset(self, indices: Sequence[int]) -> Excerpts:
        """Return the excerpts at `indices`, in that order."""
        return Excerpts([self.files[i] for i in indices], self.load)


class DataSet(Protocol):
    """What `task=...` expects of `dataset=...`."""

    name: str

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part, its audio read at `sample_rate_hz`; empty when there is none."""
        ...


def fingerprint(files: Iterable[ExcerptFile]) -> str:
    """Return 16 hex digits that are equal for the same files in any folder and any order.

    Of each file its name, labels and content count, not its path or date. A file that cannot be
    read counts by its name.
    """
    found = sorted([file.name, list(file.labels), _content(file)] for file in files)
    return fingerprint_of(found)[:16]


def _content(file: ExcerptFile) -> str | None:
    with contextlib.suppress(OSError):
        return content_of(file.path)
    return None


def described(files: Sequence[ExcerptFile]) -> str:
    """Return in words how many files these are, with their fingerprint."""
    return f"{len(files)} excerpts with the fingerprint {fingerprint(files)}"


def contents(files: Iterable[ExcerptFile]) -> list[str]:
    """Return 8 characters for each file, equal for equal sound files whatever they are called.

    Empty for a file that cannot be read.
    """
    return [base64.b64encode(bytes.fromhex(_content(file) or "")[:6]).decode() for file in files]


def fingerprint_of_sounds(excerpts: Iterable[Excerpt]) -> str:
    """Return the same of decoded excerpts: names, labels and every sample; 1 ms for 2 MB."""
    return fingerprint_of(
        sorted([e.name, list(e.labels), fingerprint_of(e.waveform)] for e in excerpts)
    )[:16]


def common_folder(files: Sequence[ExcerptFile]) -> str:
    """Return the folder that holds all files; empty where there is none."""
    with contextlib.suppress(ValueError):  # no files, or several drives
        return as_text(os.path.commonpath([file.path.resolve().parent for file in files]))
    return ""


def tell_skipped(reasons: Sequence[str]) -> None:
    """Warn of excerpts that are left out: how many, and why of the first ones."""
    if not reasons:
        return
    lines = list(dict.fromkeys(reasons))
    shown = lines[:_REASONS] + [f"and {len(lines) - _REASONS} more"] * (len(lines) > _REASONS)
    logger.warning("skipped %d excerpts:\n  %s", len(reasons), "\n  ".join(shown))


def announce(dataset: DataSet) -> None:
    """Print what a data set says it found, where it says anything."""
    if describe := getattr(dataset, "summary", None):
        print(f"{dataset.name}: {describe()}")


def listed(dataset: DataSet, part: PartName, *, sample_rate_hz: int) -> Sequence[ExcerptFile]:
    """Return the files of one part, also of one that is still to be rendered."""
    own = getattr(dataset, "listed", None)
    return dataset.part(part, sample_rate_hz=sample_rate_hz).files if own is None else own(part)


def unlabelled_words(files: Sequence[ExcerptFile]) -> str:
    """Say how many files have no label and in which folders; nothing where all have one."""
    without = [file.path for file in files if not file.labels]
    if not without:
        return ""
    every = os.path.commonpath([file.path.absolute().parent for file in files])
    folders = folders_of(without, below=every)
    return (
        f"{len(without)} of {len(files)} files have no label: {folders}; labels are the names of "
        "folders, if instruments are called so, or stand in dataset.labels_csv"
    )


def folders_of(files: Sequence[Path], below: str | Path = "") -> str:
    """Return `40 in 'drums', 4 in 'bass'`: the folders of files, or those they are in `below`."""
    parents = [file.absolute().parent for file in files]
    if below:
        parents = [Path(below, *p.relative_to(below).parts[:1]) for p in parents]
    counts = Counter(parent.name for parent in parents)
    named = [f"{count} in {name!r}" for name, count in counts.most_common(_FOLDERS)]
    more = [f"{len(counts) - _FOLDERS} more folders"] * (len(counts) > _FOLDERS)
    return ", ".join(named + more)


def multi_hot(labels: Sequence[Sequence[str]], instruments: Sequence[str]) -> Tensor:
    """Return labels as (excerpts, instruments), 1 where an instrument is named."""
    table = torch.zeros(len(labels), len(instruments))
    for row, codes in enumerate(labels):
        for code in codes:
            table[row, instruments.index(code)] = 1.0
    return table
