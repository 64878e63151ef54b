"""Score a recognizer on one part of a data set, as Han et al. (2016) did on IRMAS.

Files in `output_dir`: summary.csv (each aggregation and threshold, the groups by number of labels
and genre, the published systems), scores.csv (the same by instrument), predictions.csv (a row per
excerpt), confusion.csv, calibration.csv, scores.png, confusion.png; robustness.csv where it is
measured. Nearly all of the time goes into the network's forward passes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from irdream.arguments import Amount, Count, checked
from irdream.datasets.base import (
    DataSet,
    Labelled,
    announce,
    part_words,
    warn_skipped,
    warn_unlabelled,
)
from irdream.datasets.identity import log_files, tag_doubts
from irdream.measures.robustness import check_robustness, robustness
from irdream.measures.scoring import Scoring
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer
from irdream.reports.recognition import print_report, robust_metrics, write_report
from irdream.tasks.common import log_results
from irdream.tracking import Tracker

logger = logging.getLogger(__name__)
DEFAULT = Scoring()


@checked
def evaluate(
    *,
    recognizer: Recognizer,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    scoring: Scoring = DEFAULT,
    robust_db: Sequence[Amount] = (),
    robust_steps: Count = 20,
    robust_windows: Count = 256,
    seed: int = 0,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Score `recognizer` on a part of `dataset`, write tables and figures, print the scores.

    Excerpts that cannot be read are skipped and listed at the end; those without labels are
    predicted but not scored. The recognizer is in eval mode. Arguments that conf/config.yaml has as
    keys are explained there.

    Returns `eval/micro_f1`, `eval/macro_f1`, `eval/top1` and more, see `Report.metrics`;
    `eval/skipped`, the number of excerpts that could not be read; `eval/robust_accuracy_1dB` and
    the like. Raises InputError for an argument out of range, an empty or wholly unreadable part,
    no labels, or none that the recognizer knows.
    """
    stopwatch = stopwatch or Stopwatch()
    dataset = Labelled(dataset, recognizer.instruments, recognizer.sample_rate_hz)
    with stopwatch("finding excerpts"):
        files = scoring.files(recognizer, dataset)
    check_robustness(recognizer, files, robust_db)
    where = part_words(files, scoring.part, dataset, recognizer.sample_rate_hz)
    print(f"evaluate: {where}, {recognizer.where}", flush=True)
    if info:
        return {}
    announce(dataset)
    warn_unlabelled(files, "predicted, but not scored")
    report, unread, skipped = scoring.score(recognizer, dataset, stopwatch)
    if trained := report.seen.count("training"):
        name = f"{report.dataset}, {trained} of {len(report.seen)} trained on"
        report = dataclasses.replace(report, dataset=name)
    excerpts = dataset.part(scoring.part, sample_rate_hz=recognizer.sample_rate_hz)
    with stopwatch("adversarial search"):
        changed = robustness(
            recognizer, excerpts, robust_db, steps=robust_steps, windows=robust_windows,
            batch_windows=scoring.batch_windows, seed=seed,
        )  # fmt: skip
    metrics = report.metrics() | {"eval/skipped": float(unread)} | robust_metrics(changed)
    if not report.has_parts:
        logger.warning("%r has no test part: scored are the excerpts for training", dataset.name)
    tag_doubts(tracker, report.doubts)
    log_files(tracker, dataset.name, excerpts.files, context="evaluation")
    with stopwatch("tables and figures"):
        paths = write_report(report, output_dir, changed)
    log_results(tracker, metrics, output_dir, (path.name for path in paths), into="evaluation")
    print_report(report, changed)
    warn_skipped(skipped)
    return metrics
