"""What a data set gives: two parts, each a list of excerpts that are decoded on demand.

A data set is any object with `part("training")` and `part("test")`, each an `Excerpts`.
The parts know their files, labels and recordings without decoding anything, so that a
split by recording costs nothing; audio is read when an excerpt is indexed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

PartName = Literal["training", "test"]


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


def announce(dataset: DataSet) -> None:
    """Print what a data set says it found, where it says anything."""
    if describe := getattr(dataset, "summary", None):
        print(f"{dataset.name}: {describe()}")


def multi_hot(labels: Sequence[Sequence[str]], instruments: Sequence[str]) -> Tensor:
    """Return labels as (excerpts, instruments), 1 where an instrument is named."""
    table = torch.zeros(len(labels), len(instruments))
    for row, codes in enumerate(labels):
        for code in codes:
            table[row, instruments.index(code)] = 1.0
    return table
