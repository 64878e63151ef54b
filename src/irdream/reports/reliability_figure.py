"""How often scores are right, beside how often they say so: reliability curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irdream.measures.calibration import BINS, Reliability
from irdream.measures.recognition import Report
from irdream.reports.figures import BLUE, GRAY, ORANGE, caption, plain


def reliability_figure(report: Report) -> Figure:
    """Draw the reliability curves of S1: of all pairs, and of the highest scores.

    Below each curve, how many scores each bin has, on a logarithmic axis, as the size of the dots
    shows, too. A second color shows them at the temperature, where one was fitted.
    """
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots(2, 2, height_ratios=(3, 1), sharex=True)
    found = report.calibrations
    panels = [
        ("every excerpt and instrument", {kind: x.pairs for kind, x in found.items()}),
        ("highest score, excerpts with one label", {kind: x.top1 for kind, x in found.items()}),
    ]
    names = {"s1": "S1", "temperature_scaled": f"temperature {report.temperature or 1:.2f}"}
    for (above, below), (title, curves) in zip(axes.T, panels, strict=True):
        _draw(above, below, {names[kind]: curve for kind, curve in curves.items()})
        above.set_title(title, fontsize=10, pad=22)
    axes[0, 0].set_ylabel("share that is true", fontsize=9)
    axes[1, 0].set_ylabel("scores", fontsize=9)
    figure.suptitle(caption(report.dataset), fontsize=11, parse_math=False)
    return figure


def _draw(above: Axes, below: Axes, curves: Mapping[str, Reliability]) -> None:
    above.plot([0, 1], [0, 1], color=GRAY, linewidth=0.8, linestyle="--", zorder=0)
    edges = np.arange(BINS + 1) / BINS
    for (name, curve), color in zip(curves.items(), (BLUE, ORANGE), strict=False):
        there = curve.counts > 0
        label = f"{name}: ECE {curve.ece:.3f}" if there.any() else f"{name}: no such excerpt"
        x, y = curve.scores[there], curve.shares[there]
        above.plot(x, y, color=color, linewidth=1, alpha=0.6)
        sizes = 6 + 24 * np.log10(np.maximum(curve.counts[there], 1))
        above.scatter(x, y, sizes, color=color, label=label, zorder=2, clip_on=False)
        below.stairs(curve.counts, edges, color=color, linewidth=1.4, baseline=None)
    above.set(xlim=(0, 1), ylim=(-0.02, 1.02), yticks=np.linspace(0, 1, 6))
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    above.legend(fontsize=8, frameon=False, columnspacing=1.2, handletextpad=0.2, **place)
    below.set_yscale("symlog", linthresh=1)
    below.set_ylim(bottom=0)
    below.set_xlabel("score", fontsize=9)
    for ax in (above, below):
        plain(ax)
        ax.tick_params(labelsize=8)
