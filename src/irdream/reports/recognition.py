"""A recognition report as files: its tables and figures, written below one folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from irdream.measures.recognition import Report
from irdream.reports.figures import save_figure
from irdream.reports.recognition_figures import confusion_figure, scores_figure
from irdream.reports.recognition_tables import (
    aggregation_table,
    all_instruments_table,
    calibration_table,
    group_table,
    interval_table,
    reliability_table,
)
from irdream.reports.reliability_figure import reliability_figure
from irdream.reports.tables import (
    confusion_table,
    instrument_table,
    prediction_table,
    save_table,
    summary_table,
)


def write_report(report: Report, output_dir: Path) -> list[Path]:
    """Write the headline tables and figures, see the module; return their paths."""
    tables = {
        "scores": instrument_table(report),
        "summary": summary_table(report),
        "predictions": prediction_table(report),
        "confusion": confusion_table(report),
    }
    figures = {"scores": scores_figure(report), "confusion": confusion_figure(report)}
    return _write(tables, figures, output_dir)


def write_details(report: Report, output_dir: Path) -> list[Path]:
    """Write the tables and figures in detail, see the module; return their paths."""
    tables = {
        "aggregations": aggregation_table(report),
        "instruments": all_instruments_table(report),
        "groups": group_table(report),
        "intervals": interval_table(report),
        "calibration": calibration_table(report),
        "reliability": reliability_table(report),
    }
    return _write(tables, {"reliability": reliability_figure(report)}, output_dir)


def _write(
    tables: dict[str, pd.DataFrame], figures: dict[str, Figure], output_dir: Path
) -> list[Path]:
    output_dir.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        paths.append(output_dir / f"{name}.csv")
        save_table(table, paths[-1])
    for name, figure in figures.items():
        paths.append(output_dir / f"{name}.png")
        save_figure(figure, paths[-1])
    return paths
