"""Score a recognizer on one part of a data set: thresholds, a temperature, and what is heard."""

from __future__ import annotations

import dataclasses
import logging

from irdream.datasets.base import DataSet, PartName
from irdream.errors import InputError
from irdream.evaluation.aggregation import AGGREGATIONS, NETWORK, check_aggregation
from irdream.evaluation.calibration import fit_temperature, tempered
from irdream.evaluation.recognition import Report
from irdream.evaluation.whole_excerpts import check_any_length
from irdream.recognizer import Recognizer
from irdream.stopwatch import Stopwatch
from irdream.tasks.excerpt_scores import Heard, hear, part_of, validation_of

logger = logging.getLogger(__name__)


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
    whole, others = aggregation == NETWORK, None
    with stopwatch("finding excerpts"):
        excerpts = part_of(dataset, part, recognizer)
    chosen_on = threshold if thresholds and threshold == "checkpoint" else "given"
    if not thresholds:
        others = _hear_validation(
            recognizer, dataset, batch_windows, validation_share, seed, stopwatch, whole
        )
        thresholds, chosen_on = others.best_thresholds(), "validation"
    with stopwatch("listening"):
        heard = hear(recognizer, excerpts, batch_windows, dataset.name, whole=whole)
    report = Report(
        dataset=f"{dataset.name}, {part} part",
        instruments=recognizer.instruments,
        names=tuple(file.name for file in heard.files),
        truth=heard.truth,
        scores={by: heard.scores(by) for by in heard.aggregations},
        thresholds=thresholds,
        aggregation=aggregation,
        chosen_on=str(chosen_on),
        recordings=tuple(file.recording for file in heard.files),
        genres=tuple(file.genre for file in heard.files),
    )
    if others is None:
        return report, len(heard.skipped), heard.skipped
    return (
        _tempered(report, recognizer, others, heard),
        len(heard.skipped),
        others.skipped + heard.skipped,
    )


def check_scoring(
    recognizer: Recognizer, threshold: str | float, aggregation: str, batch_windows: int
) -> dict[str, float]:
    """Check what needs no data; return the thresholds that are given, see `_given_thresholds`."""
    check_aggregation(aggregation, (*AGGREGATIONS, NETWORK))
    if aggregation == NETWORK:
        check_any_length(recognizer)
    if batch_windows < 1:
        raise InputError(f"evaluate.batch_windows={batch_windows} is too small; expected 1 or more")
    return _given_thresholds(threshold, recognizer, aggregation)


def _hear_validation(
    recognizer: Recognizer,
    dataset: DataSet,
    batch_windows: int,
    validation_share: float,
    seed: int,
    stopwatch: Stopwatch,
    whole: bool,
) -> Heard:
    training = part_of(dataset, "training", recognizer)
    some = validation_of(training, recognizer, dataset.name, validation_share, seed)
    with stopwatch("listening"):
        return hear(recognizer, some, batch_windows, dataset.name, whole=whole)


def _tempered(report: Report, recognizer: Recognizer, others: Heard, heard: Heard) -> Report:
    """Return the report with a temperature that was fitted on other excerpts."""
    labelled = others.truth.any(axis=1)
    windows = [
        scores for scores, file in zip(others.windows, others.files, strict=True) if file.labels
    ]
    temperature = fit_temperature(others.truth[labelled], windows, recognizer.output)
    scores = tempered(heard.windows, temperature, recognizer.output)
    return dataclasses.replace(report, temperature=temperature, tempered=scores)


def _given_thresholds(
    threshold: str | float, recognizer: Recognizer, aggregation: str
) -> dict[str, float]:
    """Return the thresholds by aggregation that need not be chosen; empty: choose them."""
    if threshold == "validation":
        return {}
    if threshold == "checkpoint":
        heard = {*AGGREGATIONS, aggregation}
        known = {by: x for by, x in recognizer.thresholds.items() if by in heard}
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
