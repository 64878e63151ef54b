"""Figures of a recognition report: scores beside the published averages; mistakes.

Both say what was scored, and with which data the published systems were: a score on rendered
music must not be read as one on IRMAS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from irdream import instruments
from irdream.datasets.base import counted
from irdream.measures.recognition import Report, confusion, instrument_scores
from irdream.measures.table import PUBLISHED
from irdream.reports.figures import BLUE, GRAY, ORANGE, caption, plain

MOST_DRAWN = 50  # instruments in a figure


def scores_figure(report: Report) -> Figure:
    """Draw F1, precision and recall per instrument beside the published averages and ours."""
    height = max(4.2, 1.2 + 0.22 * len(_shown(report)))
    figure = Figure(figsize=(11, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_instruments(left, report)
    _draw_published(right, report)
    scored = counted(int(report.labelled.sum()), "excerpt")
    title = f"{report.dataset}: {scored}, {counted(int(report.scored_truth.sum()), 'label')}"
    figure.suptitle(caption(title), fontsize=11, parse_math=False)
    return figure


def _draw_instruments(ax: Axes, report: Report) -> None:
    shown, predicted = _shown(report), report.predicted[report.labelled]
    scores = instrument_scores(report.scored_truth[:, shown], predicted[:, shown])
    places = -np.arange(len(shown), dtype=float)
    bars = ax.barh(places, scores["f1"], color=BLUE, height=0.7)
    hollow = {"color": "white", "markeredgecolor": "black", "linestyle": "none", "markersize": 5}
    (precision,) = ax.plot(scores["precision"], places, "^", **hollow)
    (recall,) = ax.plot(scores["recall"], places, "o", **hollow)
    counts = zip(_names(report), scores["labels"], strict=True)
    ax.set_yticks(places, [f"{name} ({count})" for name, count in counts])
    ax.set_title(f"by instrument (number of labels){_most(report)}", fontsize=10)
    _finish(ax, places[-1], [bars, precision, recall], ["F1", "precision", "recall"])


def _draw_published(ax: Axes, report: Report) -> None:
    """Dots for micro and macro F1, a row a system; ours apart below, in another color."""
    name = f"irdream, {report.aggregation.upper()}"
    ours = (name, report.headline["micro_f1"], report.headline["macro_f1"])
    published = PUBLISHED if report.has_irmas_labels else ()
    rows = [*(row[:3] for row in published), ours]
    heights = -np.arange(len(rows), dtype=float)
    heights[-1] -= 0.8 * bool(published)
    for height, (_, micro, macro) in zip(heights, rows, strict=True):
        color = ORANGE if height == heights[-1] else GRAY
        ax.plot(micro, height, "o", color=color, markersize=7)
        if macro is not None:
            ax.plot([micro, macro], [height, height], color=color, linewidth=1, zorder=1)
            ax.plot(macro, height, "D", color="white", markeredgecolor=color, markersize=5.5)
    ax.axhline(float(heights[-1]) + 0.9, color="0.75", linewidth=0.8)
    ax.set_yticks(heights, [name for name, *_ in rows])
    words = " (published: on the IRMAS test set)" if published else ""
    ax.set_title(f"averages{words}", fontsize=10)
    keys = [
        Line2D([], [], marker="o", linestyle="none", color="0.3", markersize=7),
        Line2D([], [], marker="D", linestyle="none", color="white", markeredgecolor="0.3"),
    ]
    _finish(ax, heights[-1], keys, ["micro F1", "macro F1"])
    if published and not report.is_irmas_test:
        ax.text(
            0.02, heights[-1] + 0.55, "ours is on other data: not comparable", color=ORANGE,
            fontsize=8, style="italic", va="center", transform=ax.get_yaxis_transform(),
        )  # fmt: skip


def _finish(
    ax: Axes, lowest: float, keys: Sequence[Artist | Container], names: Sequence[str]
) -> None:
    """Give both panels the same axis of scores, from the top row down, and a legend below."""
    ax.set(xlim=(0, 1.02), xticks=np.linspace(0, 1, 6), ylim=(lowest - 0.6, 0.6))
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    plain(ax)
    ax.tick_params(labelsize=8)
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.06), "ncols": len(names)}
    ax.legend(keys, names, fontsize=8, frameon=False, **place)


def confusion_figure(report: Report, robustness: pd.DataFrame | None = None) -> Figure:
    """Draw confusions, how far scores are probabilities, and what changed windows do."""
    size = 0.4 * len(_shown(report))
    widths = [size + 2.4, 4.2] + [4.2] * (robustness is not None)
    figure = Figure(figsize=(sum(widths), max(size, 3.2) + 1.2), layout="constrained")
    axes = figure.subplots(1, len(widths), width_ratios=widths)
    _draw_confusion(axes[0], report)
    _draw_reliability(axes[1], report)
    if robustness is not None:
        _draw_robustness(axes[2], robustness, chance=1 / len(report.instruments))
    figure.suptitle(caption(report.dataset), fontsize=11, parse_math=False)
    return figure


def _draw_confusion(ax: Axes, report: Report) -> None:
    """Draw which instrument is predicted for which: in colors shares of a row, and counts."""
    shown, counts = _shown(report), confusion(report.scored(), report.scored_truth)
    of_one_label = int(counts.sum())
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    counts, shares = (x[shown][:, shown] for x in (counts, shares))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.55 else "black"
            ax.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    places = np.arange(len(counts))
    codes = [report.instruments[i] for i in shown]
    rotation = 90 if max(map(len, codes)) > 4 else 0
    ax.set_xticks(places, codes, fontsize=8, rotation=rotation)
    ax.set_yticks(places, _names(report), fontsize=8)
    ax.set_xlabel("prediction (highest score); color: share of the label's excerpts", fontsize=9)
    ax.set_ylabel("label", fontsize=9)
    top1 = f", top-1 {report.headline['top1']:.3f}" if of_one_label else ""
    title = f"{counted(of_one_label, 'excerpt')} with one label{top1}{_most(report)}"
    ax.set_title(title, fontsize=10)


def _draw_reliability(ax: Axes, report: Report) -> None:
    """Draw the share of right scores over the score; larger dots stand for more scores."""
    ax.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle="--", zorder=0)
    for (kind, found), color in zip(report.calibrations.items(), (BLUE, ORANGE), strict=False):
        name = "S1" if kind == "s1" else f"temperature {report.temperature:.2f}"
        curves = (("all scores", found.pairs, "-"), ("highest scores", found.top1, ":"))
        for of, curve, dashes in (one for one in curves if one[1].counts.any()):
            there = curve.counts > 0
            x, y = curve.scores[there], curve.shares[there]
            label = f"{name}, {of}: ECE {curve.ece:.3f}"
            ax.plot(x, y, dashes, color=color, linewidth=1.2, alpha=0.7, label=label)
            ax.scatter(x, y, 4 + 14 * np.log10(curve.counts[there]), color=color, clip_on=False)
    ax.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="score", ylabel="share that is true")
    ax.set_title("are scores probabilities?", fontsize=10)
    ax.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    plain(ax)


def _draw_robustness(ax: Axes, table: pd.DataFrame, *, chance: float) -> None:
    """Draw the accuracy over the greatest change, each with its interval; a line for guesses."""
    ax.axhline(chance, color=GRAY, linewidth=0.8, linestyle="--", zorder=0, label="a guess")
    bounds = np.stack([table["top1"] - table["low"], table["high"] - table["top1"]])
    ax.errorbar(
        table["epsilon_db"], table["top1"], np.nan_to_num(bounds), color=BLUE, marker="o",
        markersize=5, linewidth=1.4, elinewidth=1, clip_on=False,
    )  # fmt: skip
    ax.set(xlim=(0, None), ylim=(0, 1.02), xlabel="greatest change of the log-mel (dB)")
    ax.set_ylabel(f"top-1 of {table['windows'].iloc[0]} windows")
    ax.set_title("changed against the label (PGD)", fontsize=10)
    ax.legend(fontsize=7, frameon=False)
    plain(ax)


def _shown(report: Report) -> list[int]:
    """Return which instruments are drawn: all, or those with most labels, in their order."""
    counts = report.scored_truth.sum(axis=0)
    return sorted(np.argsort(-counts, kind="stable")[:MOST_DRAWN].tolist())


def _most(report: Report) -> str:
    count = len(report.instruments)
    return f"; {MOST_DRAWN} of {count} labels are drawn" if count > MOST_DRAWN else ""


def _names(report: Report) -> list[str]:
    return [instruments.name(report.instruments[i]) for i in _shown(report)]
