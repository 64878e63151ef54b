"""A recognition report in the terminal: a table of instruments and a few lines below it."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from irdream.measures.recognition import Report
from irdream.reports.recognition_tables import left_out
from irdream.reports.tables import instrument_table


def print_report(report: Report) -> None:
    """Print the scores by instrument, and the headline scores in a few lines."""
    table = Table(title=Text(report.dataset))
    table.add_column("instrument")
    for column in ("precision", "recall", "F1", "labels"):
        table.add_column(column, justify="right")
    for row in instrument_table(report).to_dict("records"):
        values = _numbers(row["precision"], row["recall"], row["f1"])
        table.add_row(row["name"], *(values if row["labels"] else "---"), str(row["labels"]))
    table.add_section()
    averages = report.averages[report.aggregation]
    for kind in ("micro", "macro"):
        values = [averages[f"{kind}_{measure}"] for measure in ("precision", "recall", "f1")]
        table.add_row(f"{kind} average", *_numbers(*values), str(int(report.scored_truth.sum())))
    console = Console()
    console.print(table)
    console.print(Text(_verdict(report)), soft_wrap=True)


def _numbers(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]


def _verdict(report: Report) -> str:
    oracle, found = report.oracle[report.aggregation], report.intervals
    lines = [
        *report.doubts,
        f"{report.aggregation.upper()}, threshold {report.thresholds[report.aggregation]:.2f}: "
        f"micro F1 {found['micro_f1'].text(3)}, macro F1 {found['macro_f1'].text(3)}",
        f"micro F1 with the oracle threshold {oracle['threshold']:.2f}: {oracle['micro_f1']:.3f}",
    ]
    is_known = not math.isnan(report.top1)
    top1 = found["top1"].text(3) if is_known else "not defined, there are none"
    lines.append(f"top-1 on excerpts with one label: {top1}")
    lines.append(f"LRAP {found['lrap'].text(3)}, mAP {found['map'].text(3)}; {_ece(report)}")
    lines += left_out(report)
    if not report.is_irmas_test:
        lines.append("not the IRMAS test set: not comparable with published scores")
    return "\n".join(lines)


def _ece(report: Report) -> str:
    texts = []
    for kind, found in report.calibrations.items():
        where = "S1" if kind == "s1" else f"temperature {report.temperature:.2f}"
        top1 = "" if math.isnan(found.top1.ece) else f" (highest scores {found.top1.ece:.3f})"
        texts.append(f"ECE of {where} {found.pairs.ece:.3f}{top1}")
    return ", ".join(texts)
