"""Test whether one checkpoint scores better than another on the same excerpts.

Both are scored as by task=evaluate, each by its own threshold, and compared in pairs; how stands
in `irdream.measures.comparison`. Files in `output_dir`: comparison.csv, a row a test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from irdream.datasets.base import (
    DataSet,
    PartName,
    announce,
    part_words,
    tell_skipped,
    warn_unlabelled,
)
from irdream.datasets.identity import log_files, tag_doubts
from irdream.errors import InputError
from irdream.measures.comparison import (
    PERMUTATIONS,
    Comparison,
    check_permutations,
    compare_reports,
)
from irdream.measures.excerpt_scores import listed_part
from irdream.measures.recognition import Report
from irdream.measures.scoring import check_scoring, score
from irdream.recognizer import Recognizer
from irdream.reports.tables import save_table
from irdream.stopwatch import Stopwatch
from irdream.tracking import Tracker

SHOWN = {"micro_f1": "micro F1", "macro_f1": "macro F1", "top1": "top-1", "lrap": "LRAP"}


def compare(
    *,
    recognizer: Recognizer,
    other: Recognizer,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    names: Sequence[str] = ("checkpoint", "other"),
    part: PartName = "test",
    threshold: str | float = "checkpoint",
    aggregation: str = "s1",
    batch_windows: int = 128,
    validation_share: float = 0.15,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Score two recognizers on a part of `dataset` and test the differences of their scores.

    Args:
        recognizer: in eval mode.
        other: what it is compared with, in eval mode.
        dataset: its labels must be among the instruments of both.
        tracker: gets the metrics and the file.
        output_dir: where the file is written.
        names: of the two, for the table.
        part, threshold, aggregation, batch_windows, validation_share: as of `evaluate`.
        permutations: of the paired test.
        seed: of its swaps, and which validation split.
        info: only say what would be compared.
        stopwatch: counts where the time goes.

    Returns:
        `compare/micro_f1`, `compare/micro_f1_other`, `..._difference`, `..._low`, `..._high` and
        `..._p`, and so for macro_f1, top1 and lrap; `compare/top1_mcnemar_p`.

    Raises:
        InputError: as `evaluate`; other numbers of names than two, fewer than 20 permutations.
    """
    stopwatch = stopwatch or Stopwatch()
    if len(names) != 2:
        raise InputError(f"names={list(names)}; expected two, one for each checkpoint")
    check_permutations(permutations)
    for one in (recognizer, other):
        check_scoring(one, threshold, aggregation, batch_windows)
        files = listed_part(dataset, part, one)
    where = part_words(files, part, dataset, recognizer.sample_rate_hz)
    print(f"compare: {names[0]} and {names[1]}, {where}, on {recognizer.device}", flush=True)
    if info:
        return {}
    announce(dataset)
    warn_unlabelled(files, "not compared")
    reports, skipped = [], []
    for one in (recognizer, other):
        report, _, reasons = score(
            recognizer=one,
            dataset=dataset,
            part=part,
            threshold=threshold,
            aggregation=aggregation,
            batch_windows=batch_windows,
            validation_share=validation_share,
            seed=seed,
            stopwatch=stopwatch,
        )
        reports.append(report)
        skipped += reasons
    with stopwatch("comparison"):
        found = compare_reports(*reports, permutations=permutations, seed=seed)
    doubts = _doubts(reports, names)
    metrics = _metrics(found) | _trained_on(reports)
    tracker.log_metrics(metrics)
    tag_doubts(tracker, doubts)
    files = dataset.part(part, sample_rate_hz=recognizer.sample_rate_hz).files
    log_files(tracker, dataset.name, files, context="comparison")
    output_dir.mkdir(parents=True, exist_ok=True)
    path = output_dir / "comparison.csv"
    save_table(comparison_table(found, names, reports[0], doubts), path)
    tracker.log_file(path, "comparison")
    Console().print(Text("\n".join(_lines(found, names, reports[0], doubts))), soft_wrap=True)
    tell_skipped(skipped)
    return metrics


def comparison_table(
    found: Comparison, names: Sequence[str], report: Report, doubts: Sequence[str] = ()
) -> pd.DataFrame:
    """A row per measure and test.

    Columns: data, excerpts, recordings, aggregation, measure, first, second, first_score,
    second_score, difference, low, high, p_value, test, note. The note says why a p value misleads.
    """
    shared = {
        "data": report.dataset,
        "excerpts": found.excerpts,
        "recordings": found.groups,
        "aggregation": report.aggregation,
    }
    rows = [
        {
            **shared,
            "measure": one.measure,
            "first": names[0],
            "second": names[1],
            "first_score": one.first,
            "second_score": one.second,
            "difference": one.difference.estimate,
            "low": one.difference.low,
            "high": one.difference.high,
            "p_value": one.p_value,
            "test": "paired permutation of recordings",
            "note": "; ".join(doubts),
        }
        for one in found.differences
    ]
    if found.mcnemar is not None:
        top1 = next(row for row in rows if row["measure"] == "top1")
        alone = f"{found.mcnemar.first_alone} against {found.mcnemar.second_alone}"
        test = f"McNemar, exact: {alone} right alone"
        rows.append(top1 | {"p_value": found.mcnemar.p_value, "test": test})
    return pd.DataFrame(rows)


def _metrics(found: Comparison) -> dict[str, float]:
    metrics = {}
    for one in found.differences:
        values = {
            "": one.first,
            "_other": one.second,
            "_difference": one.difference.estimate,
            "_low": one.difference.low,
            "_high": one.difference.high,
            "_p": one.p_value,
        }
        metrics |= {f"compare/{one.measure}{name}": x for name, x in values.items()}
    if found.mcnemar is not None:
        metrics["compare/top1_mcnemar_p"] = found.mcnemar.p_value
    metrics["compare/excerpts"] = float(found.excerpts)
    return {name: x for name, x in metrics.items() if not math.isnan(x)}


def _trained_on(reports: Sequence[Report]) -> dict[str, float]:
    """Return on how many of the excerpts each checkpoint was trained, where that is known."""
    return {
        f"compare/trained_on{which}": report.count_seen("training")
        for which, report in zip(("", "_other"), reports, strict=True)
        if report.seen
    }


def _doubts(reports: Sequence[Report], names: Sequence[str]) -> list[str]:
    """Return why the p values mislead; nothing where they do not."""
    each = zip(names, (report.doubts for report in reports), strict=True)
    return [f"{name}: {doubt}" for name, doubts in each for doubt in doubts]


def _lines(
    found: Comparison, names: Sequence[str], report: Report, doubts: Sequence[str]
) -> list[str]:
    misleads = " (not to be trusted, see below)" if doubts else ""
    lines = [
        f"{report.dataset}: {names[0]} less {names[1]}, {found.excerpts} excerpts of "
        f"{found.groups} recordings, {report.aggregation.upper()}"
    ]
    for one in found.differences:
        if math.isnan(one.first):
            lines.append(f"{SHOWN[one.measure]} is not defined on these excerpts")
            continue
        lines.append(
            f"{SHOWN[one.measure]}: {one.first:.3f} and {one.second:.3f}, difference "
            f"{one.difference.text(3)}, p = {one.p_value:.2g}{misleads}"
        )
    if (test := found.mcnemar) is not None:
        lines.append(
            f"top-1 by McNemar's exact test: {test.first_alone} right by the first alone, "
            f"{test.second_alone} by the second alone, p = {test.p_value:.2g}{misleads}"
        )
    return [*lines, *doubts]
