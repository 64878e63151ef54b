"""Data sets that are asked for their excerpts without rendering, fetching or caching anything."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from irdream.datasets.base import DataSet, ExcerptFile, Excerpts, PartName
from irdream.datasets.soundfont import EXCERPT_SECONDS, SoundFont
from irdream.instruments import CODES
from irdream.tasks.info.words import line

_PER_RECORDING = 2  # training excerpts, on average
_TEST_SECONDS = 8.5  # of a test excerpt, on average
SAMPLE = 12  # excerpts that stand for a part
LONGEST_SECONDS = 30.0  # of an excerpt that a sample keeps


class Untouched:
    """A data set as it is; what is still to be rendered is made of noise.

    Args:
        dataset: any; it is left as it was.

    Attributes:
        unrendered: what would be rendered, in words, by part.
        times: seconds that rendering would take, and that finding the files took.
    """

    def __init__(self, dataset: DataSet) -> None:
        self.dataset: Any = dataset
        if getattr(dataset, "cache_dir", None) is not None:
            self.dataset = copy.copy(dataset)
            self.dataset.cache_dir = None
        self.name = dataset.name
        self.unrendered: dict[str, str] = {}
        self.times = {"rendering": 0.0, "finding excerpts": 0.0}
        self._parts: dict[PartName, Excerpts] = {}

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part, found once; its sounds are those that are there, or noise."""
        if name not in self._parts:
            began = time.perf_counter()
            if isinstance(self.dataset, SoundFont) and not is_rendered(self.dataset, name):
                self._parts[name] = self._noises(name, sample_rate_hz)
            else:
                self._parts[name] = self.dataset.part(name, sample_rate_hz=sample_rate_hz)
                self.times["finding excerpts"] += time.perf_counter() - began
        return self._parts[name]

    def _noises(self, name: PartName, sample_rate_hz: int) -> Excerpts:
        pieces = self.dataset.counts[name] * len(CODES)
        thing = "recordings" if name == "training" else "excerpts"
        self.unrendered[name] = f"the {name} part ({pieces} {thing})"
        self.times["rendering"] += pieces * _rendering_seconds(self.dataset, name)
        return _noises(self.dataset, name, sample_rate_hz)

    @property
    def lines(self) -> list[str]:
        """Return what is to be said of parts that are not there; nothing where all are."""
        parts = " and ".join(self.unrendered.values())
        return [line("data", f"renders {parts} of {self.name} first")] if parts else []


def without_writing(start: Any) -> tuple[Any, Untouched | None]:
    """Return a start that writes nothing, and its data set where it has one."""
    if getattr(start, "dataset", None) is None:
        return start, None
    start = copy.copy(start)
    start.dataset = Untouched(start.dataset)
    return start, start.dataset


def is_rendered(dataset: SoundFont, name: PartName) -> bool:
    """Say whether a part is in the cache.

    Raises:
        InputError: when there is no such font.
    """
    with tempfile.TemporaryDirectory(prefix="irdream-") as folder:  # the fonts' copies go there
        elsewhere = copy.copy(dataset)
        elsewhere.base = Path(folder)
        return (dataset.base / elsewhere.folder(name).name / "complete.json").is_file()


def _rendering_seconds(dataset: SoundFont, name: PartName) -> float:
    """Return what a recording or a test excerpt takes, measured on one of each instrument."""
    with tempfile.TemporaryDirectory(prefix="irdream-") as folder:
        few = copy.copy(dataset)
        few.base, few.counts = Path(folder), {**dataset.counts, name: 1}
        few.folder(name)  # copies the fonts, once
        began = time.perf_counter()
        few.part(name, sample_rate_hz=22_050)
        return (time.perf_counter() - began) / len(CODES)


def _noises(dataset: SoundFont, name: PartName, sample_rate_hz: int) -> Excerpts:
    """Return as many excerpts as there will be, about."""
    each = _PER_RECORDING if name == "training" else 1
    files = [
        ExcerptFile(
            path=Path(code), name=f"{code}-{i}-{k}", labels=(code,), recording=f"{code}-{i}"
        )
        for code in CODES
        for i in range(dataset.counts[name])
        for k in range(each)
    ]
    seconds = EXCERPT_SECONDS if name == "training" else _TEST_SECONDS
    generator = torch.Generator().manual_seed(0)
    noise = 0.2 * torch.randn(round(seconds * sample_rate_hz), generator=generator).clamp(-4, 4)
    return Excerpts(files, lambda path: noise)


class Sample:
    """A few excerpts of each part, among them one of each label: what a task is tried on.

    So the labels that a task refuses are refused here too.

    Args:
        dataset: of which.
        seconds: that are kept of each excerpt.
    """

    def __init__(self, dataset: Untouched, *, seconds: float = LONGEST_SECONDS) -> None:
        self.dataset, self.name, self.seconds = dataset, dataset.name, seconds
        self.kept, self.all = 0, 0  # samples

    @property
    def share(self) -> float:
        """Return how much of the sound that was read is kept."""
        return self.kept / self.all if self.all else 1.0

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return the few of a part."""
        whole = self.dataset.part(name, sample_rate_hz=sample_rate_hz)

        def load(path: Path) -> Tensor:
            waveform = whole.load(path)
            self.all += len(waveform)
            waveform = waveform[: round(self.seconds * sample_rate_hz)]
            self.kept += len(waveform)
            return waveform

        return Excerpts([whole.files[i] for i in few(whole.files)], load)


def few(files: Sequence[ExcerptFile], count: int = SAMPLE) -> list[int]:
    """Return the first of each label, and others at even distances."""
    first: dict[str, int] = {}
    for i, file in enumerate(files):
        for label in file.labels:
            first.setdefault(label, i)
    evenly = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int).tolist()
    return sorted({*first.values(), *evenly})
