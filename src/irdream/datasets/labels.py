"""The classes that a data set brings, and its files as a recognizer with certain labels takes them.

Where a data set does not say its `classes`, they are the eleven instruments of IRMAS. Labels that
mean the same instrument (`flute`, `flu`) are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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
            labels = tuple(dict.fromkeys(filter(None, (own[label] for label in file.labels))))
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
