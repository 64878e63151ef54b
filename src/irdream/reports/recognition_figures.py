"""Figures of a recognition report: bars per instrument beside the published averages; confusion.

Both say what was scored, and with which data the published systems were: a score on rendered
music must not be read as one on IRMAS. Apart from `figures.py`, because that is all that a
dream needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from irdream import instruments
from irdream.measures.published import PUBLISHED
from irdream.measures.recognition import Report
from irdream.reports.figures import BLUE, GRAY, ORANGE, caption


def scores_figure(report: Report) -> Figure:
    """Draw F1, precision and recall per instrument beside the published averages and ours."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    _draw_instruments(left, report)
    _draw_published(right, report)
    title = f"{report.dataset}: {_count(report.labelled.sum(), 'excerpt')}, "
    title += f"{_count(report.scored_truth.sum(), 'label')}"
    figure.suptitle(caption(title), fontsize=11, parse_math=False)
    return figure


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _draw_instruments(ax: Axes, report: Report) -> None:
    scores = report.per_instrument
    places = -np.arange(len(report.instruments))
    bars = ax.barh(places, scores.f1, color=BLUE, height=0.7)
    hollow = {"color": "white", "markeredgecolor": "black", "linestyle": "none", "markersize": 5}
    (precision,) = ax.plot(scores.precision, places, "^", **hollow)
    (recall,) = ax.plot(scores.recall, places, "o", **hollow)
    names = [
        f"{_name(code)} ({support})"
        for code, support in zip(report.instruments, scores.support, strict=True)
    ]
    ax.set_yticks(places, names, fontsize=8)
    ax.set_title("by instrument (number of labels)", fontsize=10)
    _finish(ax, height=float(places[-1]) - 0.6)
    _legend_below(ax, [bars, precision, recall], ["F1", "precision", "recall"])


def _draw_published(ax: Axes, report: Report) -> None:
    """Dots for micro and macro F1, a row a system; ours apart below, in another color."""
    ours = report.averages[report.aggregation]
    rows = [(row.system, row.micro_f1, row.macro_f1, GRAY) for row in PUBLISHED]
    rows.append(
        (f"irdream, {report.aggregation.upper()}", ours["micro_f1"], ours["macro_f1"], ORANGE)
    )
    heights = -np.arange(len(rows), dtype=float)
    heights[-1] -= 0.8
    for height, (_, micro, macro, color) in zip(heights, rows, strict=True):
        ax.plot(micro, height, "o", color=color, markersize=7)
        if macro is not None:
            ax.plot([micro, macro], [height, height], color=color, linewidth=1, zorder=1)
            ax.plot(macro, height, "D", color="white", markeredgecolor=color, markersize=5.5)
    ax.axhline(float(heights[-1]) + 0.9, color="0.75", linewidth=0.8)
    ax.set_yticks(heights, [name for name, *_ in rows], fontsize=8)
    ax.set_title("averages (published: on the IRMAS test set)", fontsize=10)
    _finish(ax, height=float(heights[-1]) - 0.6)
    keys = [
        Line2D([], [], marker="o", linestyle="none", color="0.3", markersize=7),
        Line2D([], [], marker="D", linestyle="none", color="white", markeredgecolor="0.3"),
    ]
    _legend_below(ax, keys, ["micro F1", "macro F1"])
    if not report.is_irmas_test:
        _warn(ax, "ours is on other data: not comparable", float(heights[-1]) + 0.55)


def _warn(ax: Axes, text: str, height: float) -> None:
    ax.text(
        0.02, height, text, color=ORANGE, fontsize=8, style="italic", va="center",
        transform=ax.get_yaxis_transform(),
    )  # fmt: skip


def confusion_figure(report: Report) -> Figure:
    """Draw which instrument is heard for which, over the excerpts with exactly one label.

    The color is the share of a row; the numbers are counts.
    """
    counts = report.confusion
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = 0.4 * len(counts)
    figure = Figure(figsize=(size + 2.4, size + 1.1), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.55 else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    places = np.arange(len(counts))
    names = [_name(code) for code in report.instruments]
    ax.set_xticks(places, report.instruments, fontsize=8)
    ax.set_yticks(places, names, fontsize=8)
    ax.set_xlabel("heard (highest score)", fontsize=9)
    ax.set_ylabel("label", fontsize=9)
    top1 = "" if np.isnan(report.top1) else f", top-1 {report.top1:.3f}"
    title = f"{caption(report.dataset, length=50)}\n"
    title += f"{_count(counts.sum(), 'excerpt')} with one label{top1}"
    ax.set_title(title, fontsize=10, parse_math=False)
    bar = figure.colorbar(image, ax=ax, pad=0.02, aspect=30)
    bar.set_label("share of the label's excerpts", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def _name(code: str) -> str:
    return instruments.NAMES.get(code, code)


def _finish(ax: Axes, *, height: float) -> None:
    """Give both panels the same axis of scores, from the top row down to `height`."""
    ax.set_xlim(0, 1.02)
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.set_ylim(height, 0.6)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)


def _legend_below(ax: Axes, keys: Sequence[Artist | Container], names: Sequence[str]) -> None:
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.06), "ncols": len(names)}
    ax.legend(keys, names, fontsize=8, frameon=False, **place)
