"""A recognition report as tables, as files, and in the terminal.

All scores are over the excerpts that have a label. Every row that averages over a data set names
that data set, so that a table can be read apart from the run that wrote it, and a score on rendered
music is not taken for one on IRMAS. What is measured of changed windows comes as the table of
`irdream.measures.robustness.robustness`, without a row where nothing was measured.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from irdream import instruments
from irdream.measures.bootstrap import Interval
from irdream.measures.recognition import (
    BINS,
    ORACLE,
    Flags,
    Report,
    confusion,
    instrument_precisions,
    instrument_scores,
    scores_of,
)
from irdream.measures.table import IRMAS_TEST_EXCERPTS, IRMAS_TEST_LABELS, PUBLISHED
from irdream.reports.figures import save_figure
from irdream.reports.recognition_figures import MOST_DRAWN, confusion_figure, scores_figure
from irdream.reports.tables import save_table

NOT_COMPARABLE = "not the IRMAS test set: not comparable with the published rows"
UPPER_BOUND = "threshold chosen on the scored excerpts themselves: an upper bound"
HOW_TO_READ = (
    "Precision: the share of the predicted labels that are right. Recall: the share of the labels "
    "that are predicted. F1: their harmonic mean. Micro: over all labels; macro: mean of the "
    "instruments. In brackets: 95 % intervals."
)


def write_report(
    report: Report, output_dir: Path, robustness: pd.DataFrame | None = None
) -> list[Path]:
    """Write the tables and the two figures of a report into a folder; return their paths.

    `robustness` is of changed windows; None or without a row: not measured.
    """
    scores = [
        instrument_table(report, by, source).assign(
            aggregation=by, threshold_from=source, threshold=threshold
        )
        for (by, source), threshold in report.settings.items()
    ]
    robustness = robustness if robustness is not None and len(robustness) else None
    written: dict[str, Any] = {
        "scores.csv": pd.concat(scores, ignore_index=True),
        "summary.csv": summary_table(report),
        "predictions.csv": prediction_table(report),
        "confusion.csv": confusion_table(report),
        "calibration.csv": calibration_table(report),
        "robustness.csv": robustness,
        "scores.png": scores_figure(report),
        "confusion.png": confusion_figure(report, robustness),
    }
    paths = [output_dir / name for name, made in written.items() if made is not None]
    for path in paths:
        save = save_table if path.suffix == ".csv" else save_figure
        save(written[path.name], path)
    return paths


def instrument_table(report: Report, aggregation: str = "", source: str = "") -> pd.DataFrame:
    """Return a row per instrument, by default with the headline aggregation and threshold.

    Columns: instrument, name, precision, recall, f1, average_precision (empty without labels),
    labels, predictions.
    """
    by, source = aggregation or report.aggregation, source or report.chosen_on
    predicted = report.scored(by) >= report.settings[by, source]
    table = pd.DataFrame(instrument_scores(report.scored_truth, predicted))
    table.insert(0, "instrument", report.instruments)
    table.insert(1, "name", list(map(instruments.name, report.instruments)))
    precisions = instrument_precisions(report.scored_truth, report.scored(by))
    table.insert(5, "average_precision", precisions)
    return table


def summary_table(report: Report) -> pd.DataFrame:
    """Return the scores of a report, of groups of its excerpts, and of published systems.

    A row for each aggregation and threshold, for each number of labels, and for each genre where
    the names tell any; and a row for each published system. Macro averages are over the
    instruments of the group. The note says why ours cannot be compared, and names the source of
    the others.

    Columns: system, data, group, excerpts, labels, threshold_from, `scores_of`, recordings, and
    micro_f1_low ... map_high: 95 % intervals of the headline, drawn over the recordings.
    """
    headline = report.aggregation, report.chosen_on
    rows = [_row(report, setting, "all", report.labelled) for setting in report.settings]
    rows[list(report.settings).index(headline)] |= {
        "recordings": len({report.groups[i] for i in np.flatnonzero(report.labelled)}),
        **{f"{name}_low": interval.low for name, interval in report.intervals.items()},
        **{f"{name}_high": interval.high for name, interval in report.intervals.items()},
    }
    rows += [_row(report, headline, name, chosen) for name, chosen in _groups(report).items()]
    if report.has_irmas_labels:
        whole = {"excerpts": IRMAS_TEST_EXCERPTS, "labels": IRMAS_TEST_LABELS}
        about = {"data": "IRMAS test set", "group": "all", **whole}
        rows += [about | row._asdict() for row in PUBLISHED]
    return pd.DataFrame(rows).astype({"recordings": "Int64"})


def _row(report: Report, setting: tuple[str, str], group: str, chosen: Flags) -> dict[str, object]:
    """Return our scores of some excerpts, each with a label."""
    (by, source), threshold = setting, report.settings[setting]
    is_other = report.has_irmas_labels and not report.is_irmas_test
    notes = [UPPER_BOUND] * (source == ORACLE) + [NOT_COMPARABLE] * is_other
    return {
        "system": f"irdream ({by.upper()}{', oracle threshold' if source == ORACLE else ''})",
        "data": report.dataset,
        "group": group,
        "excerpts": int(chosen.sum()),
        "labels": int(report.truth[chosen].sum()),
        "threshold_from": source,
        **scores_of(report.truth[chosen], report.scores[by][chosen], threshold),
        "note": "; ".join([*notes, *report.doubts, *left_out(report)]),
    }


def _groups(report: Report) -> dict[str, Flags]:
    """Return which labelled excerpts have how many labels and which genre."""
    counts = report.truth.sum(axis=1)
    groups = {f"labels: {count}": counts == count for count in np.unique(counts[report.labelled])}
    genres = np.array(report.genres or ("",) * len(report.names))
    known = set(genres[report.labelled].tolist())
    for genre in sorted(known, key=lambda genre: (genre == "", genre)) if any(known) else ():
        groups[f"genre: {genre or 'unknown'}"] = (genres == genre) & report.labelled
    return groups


def left_out(report: Report) -> list[str]:
    """Say which instruments the macro averages and mAP leave out."""
    absent = [report.instruments[i] for i in np.flatnonzero(~report.scored_truth.any(axis=0))]
    codes = instruments.first_of(absent)
    return [f"macro averages and mAP without {codes}: no excerpt has this label"] if codes else []


def prediction_table(report: Report) -> pd.DataFrame:
    """Return a row per excerpt: name, labels, predicted labels, top-1, score per instrument.

    Where it is known, also what the recognizer had it for: training, validation or nothing.
    """
    scores = report.scores[report.aggregation]
    columns = {
        "name": report.names,
        "labels": [_codes(report, row) for row in report.truth],
        "predicted": [_codes(report, row) for row in report.predicted],
        "top1": [report.instruments[i] for i in scores.argmax(axis=1)],
    }
    if report.seen:
        columns["seen_in"] = report.seen
    return pd.DataFrame(columns | dict(zip(report.instruments, scores.T, strict=True)))


def _codes(report: Report, flags: Flags) -> str:
    return ";".join(report.instruments[i] for i in np.flatnonzero(flags))


def confusion_table(report: Report) -> pd.DataFrame:
    """Counts over the single-label excerpts: a row per label, a column per highest score."""
    counts = confusion(report.scored(), report.scored_truth)
    table = pd.DataFrame(counts, columns=list(report.instruments))
    table.insert(0, "label", report.instruments)
    return table


def calibration_table(report: Report) -> pd.DataFrame:
    """Return a row per bin of every reliability curve; means are empty in empty bins.

    Columns: data, temperature (1 for S1 as it is), of (pairs of excerpt and instrument, or
    highest scores), ece, brier (of the pairs), low, high, count, mean_score, share_true.
    """
    edges = np.arange(BINS + 1) / BINS
    parts = [
        {
            "data": report.dataset,
            "temperature": 1.0 if kind == "s1" else report.temperature,
            "of": of,
            "ece": curve.ece,
            "brier": found.brier if of == "pairs" else np.nan,
            "low": edges[:-1],
            "high": edges[1:],
            "count": curve.counts,
            "mean_score": curve.scores,
            "share_true": curve.shares,
        }
        for kind, found in report.calibrations.items()
        for of, curve in (("pairs", found.pairs), ("highest scores", found.top1))
    ]
    return pd.concat(map(pd.DataFrame, parts), ignore_index=True)


def robust_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Return eval/robust_accuracy_0dB, ..._1dB and so on, with their bounds; and of how many.

    `eval/robust_accuracy_1dB_low` and `_high` are left out where one recording gives no interval.
    """
    metrics = {}
    for row in table.to_dict("records"):
        metrics |= {f"eval/robust_{name}": float(row[name]) for name in ("windows", "recordings")}
        for name, end in (("top1", ""), ("low", "_low"), ("high", "_high")):
            if not math.isnan(row[name]):
                metrics[f"eval/robust_accuracy_{row['epsilon_db']:g}dB{end}"] = float(row[name])
    return metrics


def print_report(report: Report, robustness: pd.DataFrame | None = None) -> None:
    """Print the scores by instrument, how to read them, and the headline scores in a few lines."""
    table = Table(title=Text(report.dataset))
    table.add_column("instrument")
    for column in ("precision", "recall", "F1", "labels"):
        table.add_column(column, justify="right")
    rows = instrument_table(report).sort_values("labels", ascending=False, kind="stable")
    most = len(rows) > MOST_DRAWN
    for row in (rows.head(MOST_DRAWN) if most else rows.sort_index()).to_dict("records"):
        values = [f"{row[name]:.3f}" for name in ("precision", "recall", "f1")]
        table.add_row(row["name"], *(values if row["labels"] else "---"), str(row["labels"]))
    table.add_section()
    for kind in ("micro", "macro"):
        values = [f"{report.headline[f'{kind}_{x}']:.3f}" for x in ("precision", "recall", "f1")]
        table.add_row(f"{kind} average", *values, str(int(report.scored_truth.sum())))
    lines = [f"{len(rows) - MOST_DRAWN} more instruments in scores.csv"] if most else []
    lines += [HOW_TO_READ, *_verdict(report)]
    if robustness is not None and len(robustness):
        lines.append(robust_line(robustness))
    console = Console()
    console.print(table)
    console.print(Text("\n".join(lines)), soft_wrap=True)


def _verdict(report: Report) -> list[str]:
    oracle, found = report.found[report.aggregation, ORACLE], report.intervals
    is_defined = not math.isnan(found["top1"].estimate)
    top1 = found["top1"].text(3) if is_defined else "not defined, there are none"
    errors = []
    for kind, one in report.calibrations.items():
        where = "S1" if kind == "s1" else f"temperature {report.temperature:.2f}"
        highest = "" if math.isnan(one.top1.ece) else f" (highest scores {one.top1.ece:.3f})"
        errors.append(f"ECE of {where} {one.pairs.ece:.3f}{highest}")
    lines = [
        *report.doubts,
        f"{report.aggregation.upper()}, threshold {report.headline['threshold']:.2f}: "
        f"micro F1 {found['micro_f1'].text(3)}, macro F1 {found['macro_f1'].text(3)}",
        f"micro F1 with the oracle threshold {oracle['threshold']:.2f}: {oracle['micro_f1']:.3f}",
        f"top-1 on excerpts with one label: {top1}",
        f"LRAP {found['lrap'].text(3)}, mAP {found['map'].text(3)}; {', '.join(errors)}",
        *left_out(report),
    ]
    if report.has_irmas_labels and not report.is_irmas_test:
        lines.append("not the IRMAS test set: not comparable with published scores")
    return lines


def robust_line(table: pd.DataFrame) -> str:
    """Return the accuracies of changed windows in one line."""
    unchanged, *changed = [
        f"{Interval(row['top1'], row['low'], row['high']).text(3)} up to {row['epsilon_db']:g} dB"
        for row in table.to_dict("records")
    ]
    first, last = table.iloc[0], table.iloc[-1]
    line = f"top-1 of {first['windows']:g} windows of {first['recordings']:g} recordings: "
    line += unchanged.removesuffix(" up to 0 dB")
    if not changed:
        return line
    return f"{line}; at most, changed by PGD of {last['steps']:g} steps: {', '.join(changed)}"
