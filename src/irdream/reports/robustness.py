"""How far a recognizer can be misled, told: metrics, a line, a table and a figure.

Each takes the table of `irdream.measures.robustness.robustness`; one without a row says that
nothing was measured.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from irdream.measures.bootstrap import Interval
from irdream.reports.figures import BLUE, GRAY, caption, plain, save_figure
from irdream.reports.tables import save_table


def robust_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Return eval/robust_accuracy_0dB, ..._1dB and so on, with their bounds; and of how many.

    `eval/robust_accuracy_1dB_low` and `_high` are left out where one recording gives no interval.
    """
    rows = table.to_dict("records")
    metrics = {
        f"eval/robust_accuracy_{row['epsilon_db']:g}dB{end}": float(row[name])
        for row in rows
        for name, end in (("top1", ""), ("low", "_low"), ("high", "_high"))
        if not math.isnan(row[name])
    }
    for name in ("windows", "recordings") if rows else ():
        metrics[f"eval/robust_{name}"] = float(rows[0][name])
    return metrics


def robust_line(table: pd.DataFrame) -> str:
    """Return the accuracies in one line."""
    rows = table.to_dict("records")
    told = [
        f"{Interval(row['top1'], row['low'], row['high']).text(3)} by {row['epsilon_db']:g} dB"
        for row in rows
    ]
    counts = f"{rows[0]['windows']} windows of {rows[0]['recordings']} recordings"
    unchanged = f"top-1 of {counts}: {told.pop(0).removesuffix(' by 0 dB')} unchanged"
    if not told:
        return unchanged
    return f"{unchanged}; misled by PGD of {rows[-1]['steps']} steps, at most: {', '.join(told)}"


def robustness_figure(table: pd.DataFrame, title: str, *, chance: float = 1 / 11) -> Figure:
    """Draw the accuracy over the greatest change, each with its interval.

    Args:
        table: of `robust_accuracy`.
        title: what was heard.
        chance: the accuracy of a guess, drawn as a line.
    """
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    ax = figure.subplots()
    ax.axhline(chance, color=GRAY, linewidth=0.8, linestyle="--", zorder=0)
    ax.annotate(
        "a guess", (1, chance), xycoords=("axes fraction", "data"), xytext=(0, 2),
        textcoords="offset points", ha="right", color=GRAY, fontsize=8,
    )  # fmt: skip
    bounds = np.stack([table["top1"] - table["low"], table["high"] - table["top1"]])
    ax.errorbar(
        table["epsilon_db"], table["top1"], np.nan_to_num(bounds), color=BLUE, marker="o",
        markersize=5, linewidth=1.4, elinewidth=1, clip_on=False,
    )  # fmt: skip
    ax.set(xlim=(0, None), ylim=(0, 1.02))
    ax.set_xlabel("greatest change of a value of the log-mel (dB)", fontsize=9)
    ax.set_ylabel(f"top-1 of {table['windows'].iloc[0]} windows", fontsize=9)
    ax.set_title(caption(f"{title}: misled by PGD", length=60), fontsize=10, parse_math=False)
    plain(ax)
    ax.tick_params(labelsize=8)
    return figure


def write_robustness(table: pd.DataFrame, title: str, output_dir: Path) -> list[Path]:
    """Write robustness.csv and robustness.png into a folder; return their paths, or none."""
    if table.empty:
        return []
    paths = [output_dir / "robustness.csv", output_dir / "robustness.png"]
    save_table(table, paths[0])
    save_figure(robustness_figure(table, title), paths[1])
    return paths
