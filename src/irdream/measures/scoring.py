"""Score a recognizer on one part of a data set: predictions, thresholds, a temperature."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from irdream.datasets.base import (
    DataSet,
    ExcerptFile,
    Excerpts,
    PartName,
    decoding,
    has_no_test,
    listed,
    multi_hot,
    unlabelled_words,
)
from irdream.datasets.identity import seen, seen_words, unknown_words
from irdream.datasets.splits import Split, split_excerpts
from irdream.errors import InputError
from irdream.measures.aggregation import (
    AGGREGATIONS,
    NETWORK,
    aggregate,
    check_aggregation,
    check_any_length,
    unwindowed_scores,
    window_scores,
)
from irdream.measures.calibration import fit_temperature, temperature_scaled
from irdream.measures.recognition import Array, Flags, Report, choose_threshold
from irdream.progress import track
from irdream.recognizer import Recognizer
from irdream.stopwatch import Stopwatch

logger = logging.getLogger(__name__)


@dataclass
class Predictions:
    """The window scores of the excerpts that could be read, and why others could not.

    `unwindowed` are the scores of whole excerpts, where these were asked for.
    """

    instruments: tuple[str, ...]
    files: list[ExcerptFile] = field(default_factory=list)
    windows: list[Array] = field(default_factory=list)
    unwindowed: list[Array] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def truth(self) -> Flags:
        """Return the labels, (excerpts, instruments)."""
        return multi_hot([file.labels for file in self.files], self.instruments).numpy() > 0

    def scores(self) -> dict[str, Array]:
        """Return the scores (excerpts, instruments) by each aggregation that there is."""
        found = {by: aggregate(self.windows, by) for by in AGGREGATIONS}
        return found | ({NETWORK: np.stack(self.unwindowed)} if self.unwindowed else {})


def score(
    *,
    recognizer: Recognizer,
    dataset: DataSet,
    part: PartName,
    threshold: str | float,
    aggregation: str,
    batch_windows: int,
    validation_share: float,
    seed: int,
    stopwatch: Stopwatch,
) -> tuple[Report, int, list[str]]:
    """Return the scores, how many excerpts of the part could not be read, and all such reasons.

    Arguments and errors as of `evaluate`.
    """
    thresholds = check_scoring(recognizer, threshold, aggregation, batch_windows)
    unwindowed = aggregation == NETWORK
    with stopwatch("finding excerpts"):
        excerpts = part_of(dataset, part, recognizer)
    has_parts = part != "test" or not has_no_test(
        dataset, excerpts.files, recognizer.sample_rate_hz
    )
    others = None
    chosen_on = "checkpoint" if threshold == "checkpoint" else "given"
    if not thresholds:
        chosen_on = "validation"
        training = part_of(dataset, "training", recognizer)
        some = validation_of(training, recognizer, dataset.name, validation_share, seed)
        with stopwatch("predicting"):
            others = predict(recognizer, some, batch_windows, dataset.name, unwindowed=unwindowed)
        labelled = others.truth.any(axis=1)
        thresholds = {
            by: choose_threshold(scores[labelled], others.truth[labelled])[0]
            for by, scores in others.scores().items()
        }
    with stopwatch("predicting"):
        found = predict(recognizer, excerpts, batch_windows, dataset.name, unwindowed=unwindowed)
    where = f"{part} part" if has_parts else "all excerpts, for it has no test part"
    is_training = part != "test" or not has_parts
    report = Report(
        dataset=f"{dataset.name}, {where}",
        instruments=recognizer.instruments,
        names=tuple(file.name for file in found.files),
        truth=found.truth,
        scores=found.scores(),
        thresholds=thresholds,
        aggregation=aggregation,
        chosen_on=chosen_on,
        recordings=tuple(file.recording for file in found.files),
        genres=tuple(file.genre for file in found.files),
        seen=seen(recognizer.card, found.files),
        has_parts=has_parts,
        doubts=_doubts(recognizer, dataset.name, is_training, found, others),
    )
    skipped = found.skipped
    if others is not None:
        report = _temperature_scaled(report, recognizer, others, found)
        skipped = others.skipped + found.skipped
    return report, len(found.skipped), skipped


def check_scoring(
    recognizer: Recognizer, threshold: str | float, aggregation: str, batch_windows: int
) -> dict[str, float]:
    """Check what needs no data; return the thresholds by aggregation, none: choose them.

    Raises:
        InputError: as `evaluate`, for these arguments.
    """
    check_aggregation(aggregation, (*AGGREGATIONS, NETWORK))
    if aggregation == NETWORK:
        check_any_length(recognizer)
    if batch_windows < 1:
        raise InputError(f"evaluate.batch_windows={batch_windows} is too small; expected 1 or more")
    if threshold == "validation":
        return {}
    if threshold == "checkpoint":
        used = {*AGGREGATIONS, aggregation}
        known = {by: x for by, x in recognizer.thresholds.items() if by in used}
        if aggregation in known:
            return known
        logger.info("the checkpoint has no threshold: choosing one on the validation split")
        return {}
    if not isinstance(threshold, float | int) or not 0 <= threshold <= 1:
        raise InputError(
            f"evaluate.threshold={threshold!r} is no threshold; "
            "expected 'checkpoint', 'validation' or a number from 0 to 1"
        )
    return {aggregation: float(threshold)}


def _doubts(
    recognizer: Recognizer,
    name: str,
    is_training: bool,
    found: Predictions,
    others: Predictions | None,
) -> tuple[str, ...]:
    """Say why the scores are not those of a test."""
    labelled = [file for file in found.files if file.labels]
    validation = {file.path for file in others.files} if others else set()
    chosen = sum(file.path in validation for file in labelled)
    doubts = (
        seen_words(seen(recognizer.card, labelled)),
        unknown_words(recognizer.card, name) if is_training else "",
        f"no test: the threshold was chosen on {chosen} of these excerpts" if chosen else "",
    )
    return tuple(filter(None, doubts))


def _temperature_scaled(
    report: Report, recognizer: Recognizer, others: Predictions, found: Predictions
) -> Report:
    """Return the report with a temperature that was fitted on other excerpts."""
    labelled = others.truth.any(axis=1)
    windows = [others.windows[i] for i in np.flatnonzero(labelled)]
    temperature = fit_temperature(others.truth[labelled], windows, recognizer.output)
    scores = temperature_scaled(found.windows, temperature, recognizer.output)
    return dataclasses.replace(report, temperature=temperature, temperature_scaled=scores)


def validation_of(
    excerpts: Excerpts, recognizer: Recognizer, name: str, validation_share: float, seed: int
) -> Excerpts:
    """Return some excerpts of a training part that the recognizer was not trained on.

    Those that it was validated on, by its card; where the card only tells how it divided a data
    set of this name, these are divided so. Otherwise whole recordings are drawn.

    Args:
        excerpts: the training part.
        recognizer: that is to predict them.
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
        remedies = {
            "test": "try evaluate.part=training",
            "training": "give a number: evaluate.threshold=0.5",
        }
        raise InputError(f"{where} is empty; {remedies[part]}")
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
    *,
    unwindowed: bool = False,
) -> Predictions:
    """Return the window scores of all excerpts that can be read.

    Args:
        recognizer: in eval mode.
        excerpts: of one part; decoded ahead, and not held.
        batch_windows: the most windows in one forward pass.
        dataset_name: for the message, when there is nothing.
        unwindowed: give whole excerpts to the network, too.

    Raises:
        InputError: when none can be read that has a label.
    """
    found = Predictions(recognizer.instruments)

    def windows() -> Iterator[Tensor]:
        for file, excerpt in zip(excerpts.files, shown, strict=True):
            try:
                waveform = excerpt.result().waveform
                log_mel = recognizer.log_mel(waveform[None].to(recognizer.device))
                cut = recognizer.windows(log_mel)[0]
            except InputError as error:
                found.skipped.append(f"{file.name}: {error}")
                continue
            found.files.append(file)
            if unwindowed:
                found.unwindowed.append(unwindowed_scores(recognizer, log_mel[0]))
            yield cut

    with decoding(excerpts) as decoded:
        shown = track(decoded, "predicting", total=len(excerpts))
        found.windows.extend(window_scores(recognizer, windows(), batch_windows=batch_windows))
    if not any(file.labels for file in found.files):
        reason = f"; the first: {found.skipped[0]}" if found.skipped else ""
        raise InputError(
            f"none of {len(excerpts)} excerpts of {dataset_name!r} is readable and labelled{reason}"
        )
    return found
