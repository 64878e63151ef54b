"""Charts of what the paper claims in words: distances of dreams, ways to sound, probabilities.

Apart from `paper_figures.py`, as none of these draws a spectrogram.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from irdream import instruments as names
from irdream.errors import InputError
from irdream.reports.figures import BLUE, ORANGE, add_color_bar, caption, plain

Array = NDArray[np.floating]

MEASURES = {
    "survival": "survival of the WAV",
    "realized_correlation": "realized correlation",
    "snr_db": "SNR (dB)",
    "masking_violation": "share of bins above masking",
}
SHARES = ("survival", "masking_violation")  # drawn from 0 to 1
# name, color, marker, its size, and how far above the way's line
KINDS = {
    "dream": ("dream", BLUE, "o", 7.0, 0.18),
    "undreamed": ("undreamed excerpt", "0.6", "D", 4.5, -0.08),
    "random": ("random change of equal size", "0.6", "s", 4.5, -0.26),
}


def distance_figure(
    distances: ArrayLike,
    ratios: ArrayLike,
    instruments: Sequence[str],
    *,
    distance_name: str = "MSE (dB²)",
    title: str = "",
) -> Figure:
    """Draw how far dreams toward the own label are from dreams toward a wrong one.

    Two heat maps, a row an own label and a column a wrong target: the distance, and rho, the
    distance over the sum of both dreams' distances from the original. Rho is 1 for two changes
    of equal size at right angles, below where they share something, above where they oppose.

    Args:
        distances: (instruments, instruments); NaN: no such pair, left blank.
        ratios: rho, likewise.
        instruments: codes, the axes of both.
        distance_name: of the first map, with its unit.
        title: of the figure.

    Raises:
        InputError: when a matrix is not (instruments, instruments).
    """
    count = len(instruments)
    first, second = np.asarray(distances, float), np.asarray(ratios, float)
    if not first.shape == second.shape == (count, count):
        raise InputError(
            f"distances {first.shape} and ratios {second.shape}; expected ({count}, {count})"
        )
    others = second[~np.eye(count, dtype=bool) & np.isfinite(second)]
    reach = float(np.abs(others - 1.0).max(initial=0.1))
    figure = _figure(title, width_inches=16.0, height_inches=7.2)
    left, right = figure.subplots(1, 2)
    _draw_matrix(left, first, instruments, "viridis", *_ends(first), digits=1)
    left.set_title("distance of the dreams toward the own and a wrong label", fontsize=10)
    add_color_bar(left.images[0], left, distance_name)
    _draw_matrix(right, second, instruments, "PuOr", 1.0 - reach, 1.0 + reach, digits=2)
    right.set_title("distance / (own from original + wrong from original)", fontsize=10)
    add_color_bar(
        right.images[0], right, "ρ (below 1: alike, 1: at right angles, above 1: opposed)"
    )
    return figure


def _ends(values: Array) -> tuple[float, float]:
    present = values[~np.eye(len(values), dtype=bool) & np.isfinite(values)]
    return (float(present.min()), float(present.max())) if present.size else (0.0, 1.0)


def _figure(title: str, *, width_inches: float, height_inches: float) -> Figure:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    if title:
        figure.suptitle(caption(title, length=150), fontsize=12, parse_math=False)
    return figure


def _draw_matrix(
    ax: Axes,
    values: Array,
    instruments: Sequence[str],
    colors: str,
    low: float,
    high: float,
    *,
    digits: int,
) -> None:
    """Draw numbers on their colors, the diagonal gray, and nothing where there is none."""
    is_shown = ~np.eye(len(values), dtype=bool) & np.isfinite(values)
    shown = np.ma.masked_where(~is_shown, values)
    image = ax.imshow(shown, cmap=colors, vmin=low, vmax=high, aspect="auto")
    for i in range(len(values)):
        ax.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, color="0.8"))
    for row, column in np.argwhere(is_shown):
        value = values[row, column]
        red, green, blue, _ = image.cmap(image.norm(value))
        is_dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.55
        ax.text(
            column, row, f"{value:.{digits}f}", ha="center", va="center", fontsize=8.5,
            color="white" if is_dark else "black",
        )  # fmt: skip
    places = np.arange(len(values))
    ax.set_xticks(places, list(instruments), fontsize=9)
    ax.set_yticks(places, [names.NAMES.get(code, code) for code in instruments], fontsize=9)
    ax.set_xlabel("wrong target", fontsize=9)
    ax.set_ylabel("own label", fontsize=9)


def ways_figure(
    table: pd.DataFrame, *, measures: Mapping[str, str] = MEASURES, title: str = ""
) -> Figure:
    """Draw what is left of the dreams after each way to sound: dots with intervals.

    Args:
        table: a row for each way and kind. Columns: way; kind, "dream" or one of its controls,
            "undreamed" (the excerpt itself, sent the same way) and "random" (a random change as
            large as the dream's); and for each measure <measure>, <measure>_low and
            <measure>_high, NaN where it is not defined.
        measures: columns and what is written above them, a panel each.
        title: of the figure.

    Raises:
        InputError: when a column is missing, or a kind is unknown.
    """
    needed = ["way", "kind", *(m + end for m in measures for end in ("", "_low", "_high"))]
    if missing := [column for column in needed if column not in table.columns]:
        raise InputError(f"table without columns {missing}; expected {needed}")
    if unknown := sorted(set(table["kind"]) - set(KINDS)):
        raise InputError(f"unknown kinds {unknown}; expected some of {list(KINDS)}")
    ways = list(dict.fromkeys(table["way"]))
    figure = _figure(title, width_inches=16.0, height_inches=0.62 * len(ways) + 1.6)
    axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for ax, (measure, name) in zip(axes, measures.items(), strict=True):
        _draw_dots(ax, table, ways, measure)
        ax.set_title(name, fontsize=10)
    axes[0].set_yticks(-np.arange(len(ways)), [caption(way, length=40) for way in ways], fontsize=9)
    axes[0].set_ylim(0.5 - len(ways), 0.5)
    keys = [
        Line2D([], [], marker=marker, color=color, label=name)
        for kind, (name, color, marker, *_) in KINDS.items()
        if kind in set(table["kind"])
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def _draw_dots(ax: Axes, table: pd.DataFrame, ways: Sequence[str], measure: str) -> None:
    """Draw a measure of each way and kind with its interval."""
    for row in table.to_dict("records"):
        _, color, marker, size, above = KINDS[row["kind"]]
        height = above - ways.index(row["way"])
        ax.plot([row[f"{measure}_low"], row[f"{measure}_high"]], [height] * 2, color=color)
        ax.plot(row[measure], height, marker, color=color, markersize=size)
    if measure in SHARES:
        ax.set_xlim(-0.03, 1.03)
    for edge in np.arange(len(ways) - 1):
        ax.axhline(-edge - 0.5, color="0.9", linewidth=0.8, zorder=0)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    ax.tick_params(axis="x", labelsize=8)
    plain(ax)


def before_after_figure(
    before: ArrayLike,
    after: ArrayLike,
    is_own: ArrayLike,
    *,
    confidence: float | None = None,
    title: str = "",
) -> Figure:
    """Draw the target probability before and after the dream, a line a dream, and the means.

    Args:
        before: target probabilities of the originals, (dreams,).
        after: the same of the dreams.
        is_own: whether the target is the original's own instrument, (dreams,).
        confidence: probability that counts as success; drawn as a line.
        title: of the figure.

    Raises:
        InputError: when there are not as many of each.
    """
    first, second = np.asarray(before, float), np.asarray(after, float)
    own = np.asarray(is_own, bool)
    if not first.shape == second.shape == own.shape == (first.size,):
        raise InputError(
            f"before {first.shape}, after {second.shape}, is_own {own.shape}; expected (dreams,)"
        )
    figure = _figure(title, width_inches=8.0, height_inches=4.2)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, chosen, name in zip(axes, (own, ~own), ("the own", "another"), strict=True):
        _draw_pairs(ax, first[chosen], second[chosen])
        ax.set_title(f"toward {name} instrument ({chosen.sum()})", fontsize=10)
        if confidence is not None:
            ax.axhline(confidence, color="black", linewidth=0.9, linestyle="--", zorder=0)
    axes[0].set_ylabel("target probability", fontsize=9)
    return figure


def _draw_pairs(ax: Axes, before: Array, after: Array) -> None:
    """Draw pairs of probabilities as lines, and the means beside their ends."""
    # Moved apart a little, so that equal values can be counted.
    places = np.array([[0.0], [1.0]]) + np.random.default_rng(0).uniform(-0.08, 0.08, len(before))
    opacity = float(np.clip(12 / max(len(before), 1), 0.08, 0.6))
    ax.plot(places, [before, after], color=BLUE, alpha=opacity, linewidth=0.7)
    ax.plot(places, [before, after], ".", color=BLUE, alpha=min(1.0, 3 * opacity), markersize=4)
    for place, values, side in ((-0.2, before, "right"), (1.2, after, "left")):
        if len(values):
            mean = float(values.mean())
            ax.plot(place, mean, "D", color=ORANGE, markersize=7)
            apart = (8 if side == "left" else -8, 0)
            ax.annotate(
                f"mean {mean:.2f}", (place, mean), xytext=apart, textcoords="offset points",
                ha=side, va="center", fontsize=9,
            )  # fmt: skip
    ax.set(xlim=(-0.95, 1.95), ylim=(-0.03, 1.03))
    ax.set_xticks([0, 1], ["original", "dream"], fontsize=9)
    plain(ax)
