"""What a dream starts from: excerpts of a data set, sound files, or noise.

A start gives excerpts and a list of what could not be read; bad files do not stop the others.
"""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from irdream.arguments import Amount, Count, Natural, checked
from irdream.audio import MIN_PEAK, audio_files, load_audio
from irdream.datasets.base import DataSet, Excerpt, ExcerptFile, Excerpts, PartName, listed
from irdream.datasets.identity import known_content, unique_names
from irdream.errors import InputError
from irdream.files import ExistingPath, as_text, read_table

Readable = tuple[list[Excerpt], list[str]]
Listed = list[tuple[str, tuple[str, ...]]]
Source = tuple[str, tuple[str, ...], Callable[[], Excerpt]]  # name, labels, what reads it


class Start(ABC):
    """What `start=...` must be; `listed`, which names the excerpts unread, may be missing.

    `has_original` says whether the start is worth keeping in the sound of the dream: then the dream
    is made of it by a gain, otherwise the sound is made from the spectrogram alone. Those below say
    what there is by `_sources`; an excerpt is as much of a sound as was asked for.
    """

    has_original = True
    seconds: float | None
    offset: float = 0.0

    @abstractmethod
    def _sources(self, sample_rate_hz: int, min_seconds: float) -> list[Source]:
        """Return what there is, unread."""

    def excerpts(self, *, sample_rate_hz: int, min_seconds: float) -> Readable:
        """Return the excerpts, and one line for each that could not be read."""
        self._check_seconds(min_seconds)
        good: list[Excerpt] = []
        bad: list[str] = []
        for _, _, read in self._sources(sample_rate_hz, min_seconds):
            try:
                good.append(_cut(read(), self.offset, self.seconds, sample_rate_hz, min_seconds))
            except InputError as error:
                bad.append(str(error))
        return good, bad

    def listed(self, *, sample_rate_hz: int, min_seconds: float) -> Listed:
        """Return names and labels, also of excerpts to be rendered; errors as `excerpts`."""
        self._check_seconds(min_seconds)
        found = self._sources(sample_rate_hz, min_seconds)
        return [(name, labels) for name, labels, _ in found]

    def _check_seconds(self, min_seconds: float) -> None:
        if self.seconds is not None and self.seconds < min_seconds:
            raise InputError(
                f"start.seconds={self.seconds:g}; expected at least {min_seconds:g}, "
                "the length of the recognizer's window"
            )


@checked
@dataclass(kw_only=True, eq=False)
class ExcerptStart(Start):
    """Excerpts of a data set, evenly over the instruments of their first label."""

    dataset: DataSet
    count: Count = 11  # fewer when the part has fewer
    part: PartName = "test"
    seconds: float | None = 3.0  # of each, from its beginning; None: all
    seed: int = 0  # which ones

    @property
    def name(self) -> str:
        """What its sounds are called."""
        return self.dataset.name

    def _sources(self, sample_rate_hz: int, min_seconds: float) -> list[Source]:
        files = listed(self.dataset, self.part, sample_rate_hz=sample_rate_hz)
        if not files:
            raise InputError(
                f"the {self.part} part of {self.dataset.name!r} is empty; "
                f"try start.part={'training' if self.part == 'test' else 'test'}"
            )

        @functools.cache
        def excerpts() -> Excerpts:
            return self.dataset.part(self.part, sample_rate_hz=sample_rate_hz)

        return [
            (files[i].name, files[i].labels, lambda i=i: excerpts()[i])
            for i in evenly(files, count=self.count, seed=self.seed)
        ]


@dataclass(kw_only=True, eq=False)
class FileStart(Start):
    """A sound file, or all sound files below a folder; whole, whatever their length."""

    path: ExistingPath | None
    offset: Amount = 0.0  # where in each file the excerpt begins, in seconds
    seconds: float | None = None  # of each, from there; None: all

    def __post_init__(self) -> None:
        if self.path is None:
            raise InputError(
                "start.path is not set; expected a sound file or a folder of them, "
                "such as start.path=my.wav"
            )
        self.path = Path(self.path).expanduser()
        self.name = as_text(self.path.absolute().name or str(self.path))

    def listed(self, *, sample_rate_hz: int, min_seconds: float) -> Listed:
        """Return the files' names; raise InputError where the only file cannot be read."""
        found = super().listed(sample_rate_hz=sample_rate_hz, min_seconds=min_seconds)
        if len(found) == 1:
            _, bad = self.excerpts(sample_rate_hz=sample_rate_hz, min_seconds=min_seconds)
            if bad:
                raise InputError(f"nothing to dream on: {bad[0]}")
        return found

    def _sources(self, sample_rate_hz: int, min_seconds: float) -> list[Source]:
        def read(path: Path, name: str) -> Excerpt:
            waveform = _decoded(path, known_content(path), sample_rate_hz, min_seconds)
            return Excerpt(waveform=waveform, labels=(), name=name, path=path)

        named = zip(self._paths, unique_names(self._paths), strict=True)
        return [(name, (), partial(read, path, name)) for path, name in named]

    @cached_property
    def _paths(self) -> list[Path]:
        assert self.path is not None
        return audio_files(self.path)


@checked
@dataclass(kw_only=True, eq=False)
class DreamStart(Start):
    """Originals and dreams of a run of `task=dream`, to be attributed."""

    path: ExistingPath | None  # the run's folder, with dreams.csv and sounds/
    count: Count = 11  # of dreams, the first of the table
    seconds = None

    def __post_init__(self) -> None:
        self._run = Path(self.path or "").expanduser()
        self.name = "dreams" if self.path is None else as_text(self._run.name)

    @cached_property
    def _rows(self) -> list[dict[str, str]]:
        table = self._run / "dreams.csv"
        if self.path is None or not table.is_file():
            given = " is not set" if self.path is None else f"={self.path}"
            raise InputError(
                f"start.path{given}; expected the folder of a run of task=dream, with dreams.csv"
            )
        return read_table(table, ("file", "labels", "target"))[: self.count]

    @property
    def _folder(self) -> Path:
        return self._run / "sounds"

    @property
    def wanted(self) -> dict[str, list[str]]:
        """The classes to explain, by excerpt; "" for the one that is predicted.

        Of an original they are its label, or what is predicted, and the target; of a dream the
        target.
        """
        found: dict[str, list[str]] = {}
        for row in self._rows:
            label, target = row["labels"].partition(";")[0], row["target"]
            found[f"{row['file']}-original"] = list(dict.fromkeys([label, target]))
            found[f"{row['file']}-dream"] = [target]
        return found

    def change(self, name: str, *, sample_rate_hz: int) -> Tensor | None:
        """Return dream minus original (samples,) of the dream of this name; None: it is none."""
        if not name.endswith("-dream"):
            return None
        path = self._folder / f"{name.removesuffix('-dream')}-difference.wav"
        return load_audio(path, sample_rate_hz=sample_rate_hz, allow_silence=True)

    def _sources(self, sample_rate_hz: int, min_seconds: float) -> list[Source]:
        def read(name: str, labels: tuple[str, ...]) -> Excerpt:
            waveform = load_audio(self._folder / f"{name}.wav", sample_rate_hz=sample_rate_hz)
            return Excerpt(waveform=waveform, labels=labels, name=name)

        names = [
            (f"{row['file']}-{kind}", tuple(filter(None, row["labels"].split(";"))))
            for row in self._rows
            for kind in ("original", "dream")
        ]
        return [(name, labels, partial(read, name, labels)) for name, labels in names]


@checked
@dataclass(kw_only=True, eq=False)
class NoiseStart(Start):
    """Gaussian noise of full scale, each one drawn from its own seed."""

    count: Count = 3
    seconds: float = 1.0
    color: Literal["white", "pink"] = "white"  # pink: its power falls by 3 dB an octave
    seed: Natural = 0  # of the first; the others follow from it
    has_original = False

    @property
    def name(self) -> str:
        """What its sounds are called."""
        return f"{self.color} noise"

    def _sources(self, sample_rate_hz: int, min_seconds: float) -> list[Source]:
        def draw(i: int) -> Excerpt:
            samples = round(self.seconds * sample_rate_hz)
            noise = np.random.default_rng([self.seed, i]).standard_normal(samples)
            if self.color == "pink":
                spectrum = np.fft.rfft(noise) / np.sqrt(np.maximum(np.arange(samples // 2 + 1), 1))
                noise = np.fft.irfft(spectrum, samples)
            waveform = torch.from_numpy((noise / np.abs(noise).max()).astype(np.float32))
            return Excerpt(waveform=waveform, labels=(), name=f"{self.color}-{i}")

        return [(f"{self.color}-{i}", (), partial(draw, i)) for i in range(self.count)]


def evenly(files: Sequence[ExcerptFile], *, count: int, seed: int) -> list[int]:
    """Choose `count` files, the same number of each first label as far as there are enough.

    A file's place in the draw follows from its name and the seed alone.
    """

    def draw(i: int) -> str:
        return hashlib.sha256(f"{seed}/{files[i].name}".encode()).hexdigest()

    queues: dict[str, list[int]] = {}
    for i in sorted(range(len(files)), key=draw):
        queues.setdefault((files[i].labels or ("",))[0], []).append(i)
    order = sorted(queues, key=lambda label: (not label, label))  # those without a label last
    turns = [
        (turn, place, i) for place, code in enumerate(order) for turn, i in enumerate(queues[code])
    ]
    return [i for _, _, i in sorted(turns)[:count]]


@functools.lru_cache(maxsize=64)
def _decoded(path: Path, content: str | None, sample_rate_hz: int, min_seconds: float) -> Tensor:
    """Decode a file, once for each content; the next job of a sweep in this process wants it too.

    The tensor must not be changed in place.
    """
    return load_audio(path, sample_rate_hz=sample_rate_hz, min_seconds=min_seconds)


def _cut(
    excerpt: Excerpt, offset: float, seconds: float | None, sample_rate_hz: int, min_seconds: float
) -> Excerpt:
    name, length = excerpt.name, len(excerpt.waveform) / sample_rate_hz
    if length < min_seconds:
        raise InputError(
            f"{name!r} is too short: {length:.3f} s, at least {min_seconds:g} s expected"
        )
    if offset and offset + min_seconds > length:
        raise InputError(
            f"start.offset={offset:g} in {name!r}, which ends at {length:.3f} s; expected at most "
            f"{length - min_seconds:.3f}, so that a window of {min_seconds:g} s is left"
        )
    waveform = excerpt.waveform[round(offset * sample_rate_hz) :]
    if seconds is not None:
        waveform = waveform[: round(seconds * sample_rate_hz)]
    if waveform.max() - waveform.min() < 2 * MIN_PEAK:
        where = f"{len(waveform) / sample_rate_hz:g} s" + (f" after {offset:g} s" if offset else "")
        more = "; take more of it by start.seconds" if len(waveform) < len(excerpt.waveform) else ""
        raise InputError(f"{name!r} is silent in its first {where}{more}")
    if excerpt.path is not None and len(waveform) < len(excerpt.waveform):
        waveform = waveform / waveform.abs().max()  # as a file of its own is read
    return replace(excerpt, waveform=waveform, offset=offset)
