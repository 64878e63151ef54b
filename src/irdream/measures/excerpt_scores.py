"""A recognizer hears one part of a data set: the window scores of every excerpt it can read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from irdream.datasets.base import (
    DataSet,
    Excerpt,
    ExcerptFile,
    Excerpts,
    PartName,
    decoding,
    listed,
    multi_hot,
    unlabelled_words,
)
from irdream.datasets.identity import seen
from irdream.datasets.splits import Split, split_excerpts
from irdream.errors import InputError
from irdream.measures.aggregation import AGGREGATIONS, NETWORK, Array, aggregate
from irdream.measures.recognition import Flags, choose_threshold
from irdream.measures.whole_excerpts import whole_scores
from irdream.measures.window_scores import window_scores
from irdream.progress import track
from irdream.recognizer import Recognizer


@dataclass
class WindowScores:
    """The window scores of the excerpts that could be read, and why others could not.

    `whole` are the scores of whole excerpts, where these were asked for.
    """

    instruments: tuple[str, ...]
    files: list[ExcerptFile] = field(default_factory=list)
    windows: list[Array] = field(default_factory=list)
    whole: list[Array] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def truth(self) -> Flags:
        """Return the labels, (excerpts, instruments)."""
        return multi_hot([file.labels for file in self.files], self.instruments).numpy() > 0

    @property
    def aggregations(self) -> tuple[str, ...]:
        """Return the aggregations that there are scores of."""
        return (*AGGREGATIONS, NETWORK) if self.whole else AGGREGATIONS

    def scores(self, aggregation: str) -> Array:
        """Return the scores (excerpts, instruments) by an aggregation."""
        if aggregation == NETWORK:
            return np.stack(self.whole)
        return aggregate(self.windows, aggregation)

    def best_thresholds(self) -> dict[str, float]:
        """Return the threshold with the highest micro F1 of each aggregation."""
        labelled = self.truth.any(axis=1)
        return {
            by: choose_threshold(self.scores(by)[labelled], self.truth[labelled])[0]
            for by in self.aggregations
        }


def validation_of(
    excerpts: Excerpts, recognizer: Recognizer, name: str, validation_share: float, seed: int
) -> Excerpts:
    """Return some excerpts of a training part that the recognizer was not trained on.

    Those that it was validated on, by its card; where the card only tells how it divided a data
    set of this name, these are divided so. Otherwise whole recordings are drawn.

    Args:
        excerpts: the training part.
        recognizer: that is to hear them.
        name: of the data set.
        validation_share, seed: of what is drawn.
    """
    card: dict[str, Any] = recognizer.card
    uses = seen(card, excerpts.files)
    if "validation" in uses:
        return excerpts.subset([i for i, use in enumerate(uses) if use == "validation"])
    by: Split = "recording"
    if card.get("data", {}).get("name") == name and "split" in card:
        by, validation_share = card["split"]["by"], card["split"]["validation_share"]
        seed = card["seed"]
    _, chosen = split_excerpts(excerpts.files, by, validation_share=validation_share, seed=seed)
    return excerpts.subset(chosen)


def part_of(dataset: DataSet, part: PartName, recognizer: Recognizer) -> Excerpts:
    """Return a part whose labels the recognizer knows, some of its excerpts labelled.

    Raises:
        InputError: for another part; an empty one; no labels, or labels it does not know.
    """
    listed_part(dataset, part, recognizer)
    return dataset.part(part, sample_rate_hz=recognizer.sample_rate_hz)


def listed_part(dataset: DataSet, part: PartName, recognizer: Recognizer) -> Sequence[ExcerptFile]:
    """Return the files of a part, also of one that is still to be rendered; errors as `part_of`."""
    if part not in ("training", "test"):
        raise InputError(f"evaluate.part={part!r} is unknown; expected 'test' or 'training'")
    files = listed(dataset, part, sample_rate_hz=recognizer.sample_rate_hz)
    where = f"the {part} part of {dataset.name!r}"
    if not files:
        remedy = (
            "try evaluate.part=training"
            if part == "test"
            else "give a number: evaluate.threshold=0.5"
        )
        raise InputError(f"{where} is empty; {remedy}")
    labels = {label for file in files for label in file.labels}
    if not labels:
        raise InputError(
            f"no excerpt in {where} has a label to score against; {unlabelled_words(files)}"
        )
    if unknown := sorted(labels - set(recognizer.instruments)):
        raise InputError(
            f"labels in {where} that the checkpoint does not know: {', '.join(unknown)}; "
            f"expected some of {', '.join(recognizer.instruments)}"
        )
    return files


def predict(
    recognizer: Recognizer,
    excerpts: Excerpts,
    batch_windows: int,
    dataset_name: str,
    workers: int | None = None,
    *,
    whole: bool = False,
) -> WindowScores:
    """Return the window scores of all excerpts that can be read.

    Args:
        recognizer: in eval mode.
        excerpts: of one part; decoded ahead, and not held.
        batch_windows: the most windows in one forward pass.
        dataset_name: for the message, when there is nothing.
        workers: threads that decode, see `datasets.base.decoding`.
        whole: let the network hear each excerpt at once, too.

    Raises:
        InputError: when none can be read that has a label.
    """
    heard = WindowScores(recognizer.instruments)
    with decoding(excerpts, workers) as decoded:
        shown = track(decoded, "predicting", total=len(excerpts))
        windows = _windows(recognizer, zip(excerpts.files, shown, strict=True), heard, whole)
        heard.windows.extend(window_scores(recognizer, windows, batch_windows=batch_windows))
    if not any(file.labels for file in heard.files):
        reason = f"; the first: {heard.skipped[0]}" if heard.skipped else ""
        raise InputError(
            f"none of {len(excerpts)} excerpts of {dataset_name!r} is readable and labelled{reason}"
        )
    return heard


def _windows(
    recognizer: Recognizer,
    decoded: Iterable[tuple[ExcerptFile, Future[Excerpt]]],
    heard: WindowScores,
    whole: bool,
) -> Iterator[Tensor]:
    """Yield the windows of each excerpt that can be read, (windows, n_mels, window_frames)."""
    for file, excerpt in decoded:
        try:
            waveform = excerpt.result().waveform
            log_mel = recognizer.log_mel(waveform[None].to(recognizer.device))
            windows = recognizer.windows(log_mel)[0]
        except InputError as error:
            heard.skipped.append(f"{file.name}: {error}")
            continue
        heard.files.append(file)
        if whole:
            heard.whole.append(whole_scores(recognizer, log_mel[0]))
        yield windows
