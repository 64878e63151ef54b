"""Several data sets as one, such as rendered music and recorded notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from irdream.datasets.base import DataSet, ExcerptFile, Excerpts, PartName, listed
from irdream.datasets.labels import labels_of
from irdream.errors import InputError
from irdream.instruments import find


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
        return "; ".join(filter(None, (one.to_prepare() for one in self._prepared("to_prepare"))))

    def prepare(self) -> None:
        """Prepare each of them."""
        for dataset in self._prepared("prepare"):
            dataset.prepare()

    def _prepared(self, name: str) -> list[Any]:
        """Return the data sets that have a method of that name."""
        return [dataset for dataset in self.datasets.values() if hasattr(dataset, name)]

    def _named(self, key: str, part: PartName, files: Sequence[ExcerptFile]) -> list[ExcerptFile]:
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
