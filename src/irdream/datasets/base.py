"""What a data set gives: two parts, each a list of excerpts that are decoded on demand.

A data set is any object with `part("training")` and `part("test")`, each an `Excerpts`.
The parts know their files, labels and recordings without decoding anything, so that a
split by recording costs nothing; audio is read when an excerpt is indexed.

A fingerprint says whether two runs had the same sounds, wherever these lie.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from irdream.files import as_text

PartName = Literal["training", "test"]

_PROBE_BYTES = 4096
_REASONS = 20  # that are listed

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

    Of each file its name, labels, size and three probes of 4 kB (begin, middle, end) count, not
    its path or date. A file that is missing, added, renamed, labelled otherwise, of another
    length or of other sound changes it; a change of a few samples between the probes that keeps
    the size does not. 0.05 ms a file: the 6705 of IRMAS take 0.3 s, to hash them whole 3.5 GB.
    """
    return _digest((file.name, file.labels, _probes(file.path)) for file in files)


def described(files: Sequence[ExcerptFile]) -> str:
    """Return in words how many files these are, with their fingerprint."""
    return f"{len(files)} excerpts with the fingerprint {fingerprint(files)}"


def fingerprint_of_sounds(excerpts: Iterable[Excerpt]) -> str:
    """Return the same of decoded excerpts: names, labels and every sample; 1 ms for 2 MB."""
    sounds = ((e.name, e.labels, e.waveform.contiguous().numpy().data) for e in excerpts)
    return _digest(sounds)


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


def _digest(parts: Iterable[tuple[str, Sequence[str], bytes | memoryview]]) -> str:
    """Hash names, labels and bytes, in the order of names."""
    lines = [
        f"{name}\0{' '.join(labels)}\0{hashlib.sha256(content).hexdigest()}\n"
        for name, labels, content in parts
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]


def _probes(path: Path) -> bytes:
    """Return a file's size and 4 kB from three places; nothing where it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            probes = [str(size).encode()]
            for at in (0, size // 2, max(0, size - _PROBE_BYTES)):
                file.seek(at)
                probes.append(file.read(_PROBE_BYTES))
            return b"".join(probes)
    except OSError:
        return b""


def announce(dataset: DataSet) -> None:
    """Print what a data set says it found, where it says anything."""
    if describe := getattr(dataset, "summary", None):
        print(f"{dataset.name}: {describe()}")


def listed(dataset: DataSet, part: PartName, *, sample_rate_hz: int) -> Sequence[ExcerptFile]:
    """Return the files of one part, also of one that is still to be rendered."""
    own = getattr(dataset, "listed", None)
    return dataset.part(part, sample_rate_hz=sample_rate_hz).files if own is None else own(part)


def multi_hot(labels: Sequence[Sequence[str]], instruments: Sequence[str]) -> Tensor:
    """Return labels as (excerpts, instruments), 1 where an instrument is named."""
    table = torch.zeros(len(labels), len(instruments))
    for row, codes in enumerate(labels):
        for code in codes:
            table[row, instruments.index(code)] = 1.0
    return table
