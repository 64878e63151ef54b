"""Score a recognizer on one part of a data set: thresholds, a temperature, and what is heard."""

from __future__ import annotations

import dataclasses
import logging

from irdream.datasets.base import DataSet, PartName, has_no_test
from irdream.datasets.identity import seen, seen_words, unknown_words
from irdream.errors import InputError
from irdream.measures.aggregation import AGGREGATIONS, NETWORK, check_aggregation
from irdream.measures.calibration import fit_temperature, temperature_scaled
from irdream.measures.excerpt_scores import WindowScores, part_of, predict, validation_of
from irdream.measures.recognition import Report
from irdream.measures.whole_excerpts import check_any_length
from irdream.recognizer import Recognizer
from irdream.stopwatch import Stopwatch

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
    has_parts = part != "test" or not has_no_test(
        dataset, excerpts.files, recognizer.sample_rate_hz
    )
    chosen_on = threshold if thresholds and threshold == "checkpoint" else "given"
    if not thresholds:
        others = _predict_validation(
            recognizer, dataset, batch_windows, validation_share, seed, stopwatch, whole
        )
        thresholds, chosen_on = others.best_thresholds(), "validation"
    with stopwatch("predicting"):
        heard = predict(recognizer, excerpts, batch_windows, dataset.name, whole=whole)
    where = f"{part} part" if has_parts else "all excerpts, for it has no test part"
    report = Report(
        dataset=f"{dataset.name}, {where}",
        instruments=recognizer.instruments,
        names=tuple(file.name for file in heard.files),
        truth=heard.truth,
        scores={by: heard.scores(by) for by in heard.aggregations},
        thresholds=thresholds,
        aggregation=aggregation,
        chosen_on=str(chosen_on),
        recordings=tuple(file.recording for file in heard.files),
        genres=tuple(file.genre for file in heard.files),
        seen=seen(recognizer.card, heard.files),
        has_parts=has_parts,
        doubts=_doubts(recognizer, dataset.name, part != "test" or not has_parts, heard, others),
    )
    if others is None:
        return report, len(heard.skipped), heard.skipped
    return (
        _temperature_scaled(report, recognizer, others, heard),
        len(heard.skipped),
        others.skipped + heard.skipped,
    )


def _doubts(
    recognizer: Recognizer,
    name: str,
    has_training: bool,
    heard: WindowScores,
    others: WindowScores | None,
) -> tuple[str, ...]:
    """Say why the scores are not those of a test; `has_training`: excerpts of a training part."""
    labelled = [file for file in heard.files if file.labels]
    both = {file.path for file in others.files} if others else set()
    chosen = sum(file.path in both for file in labelled)
    found = (
        seen_words(seen(recognizer.card, labelled)),
        unknown_words(recognizer.card, name) * has_training,
        f"no test: the threshold was chosen on {chosen} of these excerpts" * bool(chosen),
    )
    return tuple(filter(None, found))


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


def _predict_validation(
    recognizer: Recognizer,
    dataset: DataSet,
    batch_windows: int,
    validation_share: float,
    seed: int,
    stopwatch: Stopwatch,
    whole: bool,
) -> WindowScores:
    training = part_of(dataset, "training", recognizer)
    some = validation_of(training, recognizer, dataset.name, validation_share, seed)
    with stopwatch("predicting"):
        return predict(recognizer, some, batch_windows, dataset.name, whole=whole)


def _temperature_scaled(
    report: Report, recognizer: Recognizer, others: WindowScores, heard: WindowScores
) -> Report:
    """Return the report with a temperature that was fitted on other excerpts."""
    labelled = others.truth.any(axis=1)
    windows = [
        scores for scores, file in zip(others.windows, others.files, strict=True) if file.labels
    ]
    temperature = fit_temperature(others.truth[labelled], windows, recognizer.output)
    scores = temperature_scaled(heard.windows, temperature, recognizer.output)
    return dataclasses.replace(report, temperature=temperature, temperature_scaled=scores)


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
