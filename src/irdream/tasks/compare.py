"""Test whether one checkpoint scores better than another on the same excerpts.

Both are scored as by task=evaluate, each by its own threshold, and compared in pairs; how stands
in `irdream.measures.comparison`. Files in `output_dir`: comparison.csv, a row a test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
from annotated_types import Len
from rich.console import Console
from rich.text import Text

from irdream.arguments import checked
from irdream.datasets.base import (
    DataSet,
    Labelled,
    announce,
    part_words,
    warn_skipped,
    warn_unlabelled,
)
from irdream.datasets.identity import log_files, tag_doubts
from irdream.measures.bootstrap import Interval
from irdream.measures.comparison import (
    MCNEMAR,
    PERMUTATIONS,
    Permutations,
    check_same_labels,
    compare_reports,
)
from irdream.measures.recognition import Report
from irdream.measures.scoring import Scoring
from irdream.measures.table import METRICS
from irdream.progress import Stopwatch
from irdream.recognizer import Recognizer
from irdream.reports.tables import save_table
from irdream.tasks.common import log_results
from irdream.tracking import Tracker

DEFAULT = Scoring()
HOW_TO_READ = (
    "difference: the first less the second, with its 95 % interval; p: how often a difference as "
    "large comes by chance where the two are alike"
)


@checked
def compare(
    *,
    recognizer: Recognizer,
    other: Recognizer,
    dataset: DataSet,
    tracker: Tracker,
    output_dir: Path,
    names: Annotated[Sequence[str | Sequence[str]], Len(2, 2)] = ("checkpoint", "other"),
    scoring: Scoring = DEFAULT,
    permutations: Permutations = PERMUTATIONS,
    seed: int = 0,
    info: bool = False,
    stopwatch: Stopwatch | None = None,
) -> dict[str, float]:
    """Score two recognizers, in eval mode, on a part of `dataset` and test the differences.

    `names` are of the two, for the table; several for an ensemble. Returns `compare/micro_f1`,
    `compare/micro_f1_other`, `..._difference`, `..._low`, `..._high` and `..._p`, and so for
    macro_f1, top1 and lrap; `compare/top1_mcnemar_p`. Raises InputError as `evaluate`, and for
    checkpoints with different labels.
    """
    stopwatch = stopwatch or Stopwatch()
    check_same_labels(recognizer.instruments, other.instruments)
    dataset = Labelled(dataset, recognizer.instruments, recognizer.sample_rate_hz)
    for one in (other, recognizer):
        files = scoring.files(one, dataset)
    where = part_words(files, scoring.part, dataset, recognizer.sample_rate_hz)
    first, second = (name if isinstance(name, str) else "+".join(name) for name in names)
    print(f"compare: {first} and {second}, {where}, {recognizer.where}", flush=True)
    if info:
        return {}
    announce(dataset)
    warn_unlabelled(files, "not compared")
    reports, skipped = [], []
    for one in (recognizer, other):
        report, _, reasons = scoring.score(one, dataset, stopwatch)
        reports.append(report)
        skipped += reasons
    doubts = [
        f"{name}: {doubt}"
        for name, report in zip((first, second), reports, strict=True)
        for doubt in report.doubts
    ]
    with stopwatch("comparison"):
        table = compare_reports(*reports, permutations=permutations, seed=seed)
        table = table.assign(first=first, second=second, note="; ".join(doubts))
    tag_doubts(tracker, doubts)
    files = dataset.part(scoring.part, sample_rate_hz=recognizer.sample_rate_hz).files
    log_files(tracker, dataset.name, files, context="comparison")
    save_table(table, output_dir / "comparison.csv")
    metrics = _metrics(table, reports)
    log_results(tracker, metrics, output_dir, ["comparison.csv"], into="comparison")
    Console().print(Text("\n".join([*_lines(table), HOW_TO_READ, *doubts])), soft_wrap=True)
    warn_skipped(skipped)
    return metrics


def _metrics(table: pd.DataFrame, reports: Sequence[Report]) -> dict[str, float]:
    """Return the scores, their differences, and how many excerpts each was trained on, if known."""
    metrics = {"excerpts": float(table["excerpts"].iloc[0])}
    ends = {
        "": "first_score", "_other": "second_score", "_difference": "difference", "_low": "low",
        "_high": "high", "_p": "p_value",
    }  # fmt: skip
    for row in table.to_dict("records"):
        if row["test"] == MCNEMAR:
            metrics["top1_mcnemar_p"] = row["p_value"]
        else:
            metrics |= {f"{row['measure']}{end}": float(row[name]) for end, name in ends.items()}
    for end, report in zip(("", "_other"), reports, strict=True):
        if report.seen:
            metrics[f"trained_on{end}"] = report.count_seen("training")
    return {f"compare/{name}": x for name, x in metrics.items() if not math.isnan(x)}


def _lines(table: pd.DataFrame) -> list[str]:
    """Return a line that says what is compared, and one for each test."""
    rows = table.to_dict("records")
    first = rows[0]
    lines = [
        f"{first['data']}: {first['first']} less {first['second']}, {first['excerpts']} excerpts "
        f"of {first['recordings']} recordings, {first['aggregation'].upper()}"
    ]
    misleads = " (not to be trusted, see below)" if first["note"] else ""
    for row in rows:
        measure = METRICS[f"eval/{row['measure']}"]
        p = f"p = {row['p_value']:.2g}{misleads}"
        if row["test"] == MCNEMAR:
            lines.append(
                f"{measure.label} by McNemar's exact test: {row['first_alone']:g} right by the "
                f"first alone, {row['second_alone']:g} by the second alone, {p}"
            )
        elif math.isnan(row["first_score"]):
            lines.append(f"{measure.label} is not defined on these excerpts")
        else:
            scores = [f"{row[name]:.{measure.digits}f}" for name in ("first_score", "second_score")]
            difference = Interval(row["difference"], row["low"], row["high"]).text(measure.digits)
            lines.append(f"{measure.label}: {' and '.join(scores)}, difference {difference}, {p}")
    return lines
