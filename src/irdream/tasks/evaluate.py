"""Score a recognizer on one part of a data set, as Han et al. (2016) did on IRMAS.

Every excerpt is cut into windows that overlap by half; S1, S2 and max make one row of scores of
them; a threshold that was chosen on other excerpts makes labels of it. Tables and figures
name the data set, since a score on rendered music says little about recordings.

Files in `output_dir`: summary.csv (each aggregation and threshold, the groups by number of labels
and genre, the published systems), scores.csv (the same by instrument), predictions.csv (a row per
excerpt), confusion.csv, calibration.csv, scores.png, confusion.png; robustness.csv where it is
measured (`irdream.measures.robustness`).
Nearly all of the time goes into the network's forward passes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from irdream.datasets.base import (
    DataSet,
    PartName,
    announce,
    part_words,
    tell_skipped,
    warn_unlabelled,
)
from irdream.datasets.identity import log_files, tag_doubts
from irdream.measures.robustness import check_robustness, robustness
from irdream.measures.scoring import check_scoring, listed_part, part_of, score
from irdream.recognizer import Recognizer
from irdream.reports.recognition import print_report, robust_metrics, write_report
from irdream.stopwatch import Stopwatch
from irdream.tracking import Tracker

logger = logging.getLogger(__name__)


def evaluate(
    *,
    recognizer: Recognizer,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    part: PartName = "test",
    threshold: str | float = "checkpoint",
    aggregation: str = "s1",
    batch_windows: int = 128,
    validation_share: float = 0.15,
    robust_db: Sequence[float] = (),
    robust_steps: int = 20,
    robust_windows: int = 256,
    seed: int = 0,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Score `recognizer` on a part of `dataset`, write tables and figures, print the scores.

    Excerpts that cannot be read are skipped and listed at the end; those without labels are
    predicted but not scored.

    Args:
        recognizer: in eval mode.
        dataset: its labels must be among the recognizer's instruments.
        tracker: gets the metrics and the files.
        output_dir: where the files are written.
        part: "test" or "training".
        threshold: "checkpoint": the recognizer's own, or as "validation" when it has none;
            "validation": the best on the validation split of the training part, on which a
            temperature is fitted, too; a number: this one, for `aggregation` alone.
        aggregation: "s1", "s2" or "max", what the headline scores use; or "network", track-level
            prediction by a network that takes excerpts of any length.
        batch_windows: the most windows in one forward pass.
        validation_share: share of the training part that a threshold is chosen on, where the
            checkpoint's card does not tell what it was validated on.
        robust_db: greatest changes of a log-mel that are sought against its label; empty: none.
        robust_steps: of the search for such a change.
        robust_windows: how many are to be changed, at most.
        seed: which validation split, where the card does not tell, and which windows are changed.
        info: only say what would be scored.
        stopwatch: counts where the time goes.

    Returns:
        `eval/micro_f1`, `eval/macro_f1`, `eval/top1` and more, see `Report.metrics`;
        `eval/skipped`: the number of excerpts that could not be read;
        `eval/robust_accuracy_1dB` and the like, where `robust_db` has 1.

    Raises:
        InputError: an argument out of range; an empty or wholly unreadable part; no labels;
            labels that the recognizer does not know.
    """
    stopwatch = stopwatch or Stopwatch()
    check_scoring(recognizer, threshold, aggregation, batch_windows)
    with stopwatch("finding excerpts"):
        files = listed_part(dataset, part, recognizer)
    check_robustness(recognizer, files, robust_db, robust_steps, robust_windows)
    where = part_words(files, part, dataset, recognizer.sample_rate_hz)
    print(f"evaluate: {where}, on {recognizer.device}", flush=True)
    if info:
        return {}
    announce(dataset)
    warn_unlabelled(files, "predicted, but not scored")
    report, unread, skipped = score(
        recognizer=recognizer,
        dataset=dataset,
        part=part,
        threshold=threshold,
        aggregation=aggregation,
        batch_windows=batch_windows,
        validation_share=validation_share,
        seed=seed,
        stopwatch=stopwatch,
    )
    if trained := report.seen.count("training"):
        name = f"{report.dataset}, {trained} of {len(report.seen)} trained on"
        report = dataclasses.replace(report, dataset=name)
    excerpts = part_of(dataset, part, recognizer)
    with stopwatch("adversarial search"):
        changed = robustness(
            recognizer,
            excerpts,
            robust_db,
            steps=robust_steps,
            windows=robust_windows,
            batch_windows=batch_windows,
            seed=seed,
        )
    metrics = report.metrics() | {"eval/skipped": float(unread)} | robust_metrics(changed)
    if not report.has_parts:
        logger.warning("%r has no test part: scored are the excerpts for training", dataset.name)
    tracker.log_metrics(metrics)
    tag_doubts(tracker, report.doubts)
    log_files(tracker, dataset.name, excerpts.files, context="evaluation")
    with stopwatch("tables and figures"):
        paths = write_report(report, output_dir, changed)
    for path in paths:
        tracker.log_file(path, "evaluation")
    print_report(report, changed)
    tell_skipped(skipped)
    return metrics
