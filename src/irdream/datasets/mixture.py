"""Data sets made of others: several as one, and one as a recognizer with certain labels takes it.

Where a data set does not say its `classes`, they are the eleven instruments of IRMAS. Labels that
mean the same instrument (`flute`, `flu`) are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from irdream.datasets.base import DataSet, ExcerptFile, Excerpts, PartName, listed
from irdream.errors import InputError
from irdream.instruments import CODES, find, in_words

logger = logging.getLogger(__name__)


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
    """A data set as a recognizer takes it; whatever the data set has besides, this has, too.

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


class Mixture:
    """The excerpts of several data sets.

    Args:
        datasets: by the names that begin the names of their excerpts.
        weights: how often the training excerpts of each are used, 1 where it is not named; each
            time they are augmented anew.

    Raises:
        InputError: no data set, or a weight of one that there is not.
    """

    def __init__(
        self,
        *,
        datasets: Mapping[str, DataSet],
        weights: Mapping[str, int] | None = None,
        name: str = "mixture",
    ) -> None:
        self.datasets, self.weights, self.name = dict(datasets), dict(weights or {}), name
        if not self.datasets:
            raise InputError("dataset.datasets is empty; expected data sets by name")
        for key, weight in self.weights.items():
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
        """Prepare each of them."""
        self._each("prepare")

    def _each(self, name: str) -> list[Any]:
        """Call the method of that name of the data sets that have it."""
        return [getattr(one, name)() for one in self.datasets.values() if hasattr(one, name)]

    def _named(self, key: str, part: str, files: Sequence[ExcerptFile]) -> list[ExcerptFile]:
        times = self.weights.get(key, 1) if part == "training" else 1
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
