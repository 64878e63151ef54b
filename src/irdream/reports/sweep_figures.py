"""Figures of a sweep: a metric over two swept values, and over one.

Both take the table of `irdream.sweeps.overview.table`, a row a job. Where a third value was
swept too, several jobs fall on one place: the map shows their mean, the curves their mean and
each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from irdream.errors import InputError, nearest
from irdream.measures.table import METRICS
from irdream.reports.figures import add_color_bar, caption, plain
from irdream.reports.tables import rows_of

Array = NDArray[np.floating]
Value = int | float | str
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def ordered(values: Iterable[Value]) -> list[Value]:
    """Return each value once: numbers from the least, then words as they come."""
    once = list(dict.fromkeys(values))
    words = [value for value in once if isinstance(value, str)]
    return [*sorted(value for value in once if not isinstance(value, str)), *words]


def heat_map_figure(table: pd.DataFrame, rows: str, columns: str, metric: str) -> Figure:
    """Draw a metric over two swept values, with its numbers in the cells.

    Numbers stand from the least to the greatest, from above and from the left. A cell of
    several jobs shows the mean of those that have the metric. "×" marks a cell in which jobs
    failed, with their count where there is more than one job; a cell without a job is blank.
    Raises InputError when the table lacks a column, of status, the two keys and the metric.
    """
    _check(table, ["status", rows, columns, metric])
    down, across = _values(table, rows), _values(table, columns)
    means, counts, jobs, failed = (np.zeros((len(down), len(across))) for _ in range(4))
    for i, j in np.ndindex(means.shape):
        here = rows_of(table, **{rows: down[i], columns: across[j]})
        values = here[metric].to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        means[i, j] = values.mean() if len(values) else math.nan
        counts[i, j], jobs[i, j] = len(values), len(here)
        failed[i, j] = (here["status"] == "failed").sum()
    width = float(np.clip(2.4 + 0.95 * len(across), 6.0, 18.0))
    height = float(np.clip(1.5 + 0.55 * len(down), 3.2, 14.0))
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(np.ma.masked_invalid(means), cmap="viridis", aspect="auto")
    wide, high = (width - 2.4) / max(len(across), 1), (height - 1.5) / max(len(down), 1)
    font_size = min(10.0, 15 * wide, 30 * high)
    greatest = float(np.nanmax(np.abs(means), initial=0.0)) or 1.0
    digits = int(np.clip(2 - math.floor(math.log10(greatest)), 0, 9))  # three for the greatest
    for i, j in np.ndindex(means.shape):
        of_cell = float(means[i, j]), int(jobs[i, j]), int(failed[i, j])
        _write_cell(ax, (i, j), *of_cell, digits, font_size)
    names = [_name(value) for value in across]
    is_turned = max(map(len, names), default=0) * 0.09 > wide
    ax.set_xticks(np.arange(len(across)), names, fontsize=9, rotation=90 if is_turned else 0)
    ax.set_yticks(np.arange(len(down)), [_name(value) for value in down], fontsize=9)
    ax.set_xlabel(caption(columns, length=60), fontsize=9, parse_math=False)
    ax.set_ylabel(caption(rows, length=60), fontsize=9, parse_math=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    note = ""
    if counts.any():
        add_color_bar(image, ax, _axis_name(metric))
        least, most = int(counts[counts > 0].min()), int(counts.max())
        several = f"{most}" if least == most else f"{least} to {most}"
        note = f"mean of {several} jobs" if most > 1 else ""
    _set_title(ax, metric, note)
    return figure


def _write_cell(
    ax: Axes, at: tuple[int, int], mean: float, jobs: int, failed: int, digits: int, size: float
) -> None:
    """Write a number on its color; a cell without one is gray, hatched if jobs failed."""
    number = "" if math.isnan(mean) else f"{mean:.{digits}f}"
    mark = "×" if failed and jobs == 1 else f"× {failed} of {jobs}" if failed else ""
    color, box = "black", None
    if number:
        red, green, blue, _ = ax.images[0].to_rgba(np.array(mean))
        color = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.55 else "black"
    elif jobs:
        style: Any = {"facecolor": "0.93", "edgecolor": "0.7", "hatch": "//" if failed else ""}
        ax.add_patch(Rectangle((at[1] - 0.5, at[0] - 0.5), 1, 1, **style))
        box = {"color": "0.93", "pad": 1.5} if failed else None
    text = "\n".join(filter(None, (number, mark))) or ("–" if jobs else "")
    if size >= 4.0:
        ax.text(
            at[1], at[0], text, ha="center", va="center", color=color, fontsize=size,
            linespacing=1.1, bbox=box,
        )  # fmt: skip


def sweep_curve_figure(table: pd.DataFrame, key: str, metric: str, by: str | None = None) -> Figure:
    """Draw a metric over a swept number: a line through the means, and a dot a job.

    The axis is logarithmic where the numbers are above 0 and span more than a decade. A cross
    at the bottom marks a value at which a job failed. There is a line for each value of the key
    `by`; None: one. Raises InputError when the table lacks a column of status, keys and metric, or
    a value of `key` is no number.
    """
    _check(table, ["status", key, metric, *([by] if by else [])])
    places = _numbers(table, key)
    values = table[metric].to_numpy(dtype=float)
    has_failed = (table["status"] == "failed").to_numpy()
    figure = Figure(figsize=(8.5 if by else 6.5, 4.4), layout="constrained")
    ax = figure.subplots()
    lines, is_crowded = list(_lines(table, by)), False
    for i, (name, chosen, style) in enumerate(lines):
        before, here = len(ax.lines), chosen & np.isfinite(values)
        at = np.unique(places[here])
        means = [float(values[here & (places == place)].mean()) for place in at]
        ax.plot(at, means, **style, markersize=5, linewidth=1.6, label=name)
        if len(at) < here.sum():
            is_crowded = True
            dots = {"color": style["color"], "alpha": 0.35, "markersize": 5, "zorder": 1}
            ax.plot(places[here], values[here], ".", **dots)
        lost, bottom = places[chosen & has_failed], ax.get_xaxis_transform()
        ax.plot(lost, 0.03 + 0 * lost, "x", color=style["color"], transform=bottom)
        points = (i - (len(lines) - 1) / 2) * min(4.0, 24.0 / len(lines))
        aside = ScaledTranslation(points / 72.0, 0.0, figure.dpi_scale_trans)
        for drawn in ax.lines[before:]:  # so that lines do not hide each other
            drawn.set_transform(drawn.get_transform() + aside)
    _scale(ax, np.unique(places))
    ax.set_xlabel(caption(key, length=60), fontsize=9, parse_math=False)
    ax.set_ylabel(_axis_name(metric), fontsize=9, parse_math=False)
    if by:
        figure.legend(
            loc="outside right upper", title=_name(by), fontsize=8, handlelength=3, frameon=False
        )
    notes = ["a dot a job, a line through the means"] if is_crowded else []
    if has_failed.any():
        notes.append(f"× failed: {has_failed.sum()} of {len(table)} jobs")
    _set_title(ax, metric, "; ".join(notes))
    plain(ax)
    return figure


def _lines(
    table: pd.DataFrame, by: str | None
) -> Iterator[tuple[str, NDArray[np.bool_], dict[str, Any]]]:
    """Yield name, rows and style of each line; numbers get colors in their order."""
    if by is None:
        yield "", np.ones(len(table), bool), {"color": PALETTE[0], "marker": MARKERS[0]}
        return
    values = _values(table, by)
    in_order = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, max(len(values), 1)))
    is_numeric = not any(isinstance(value, str) for value in values)
    for i, value in enumerate(values):
        color = in_order[i] if is_numeric else PALETTE[i % len(PALETTE)]
        dashes = "-" if is_numeric else ("-", "--", ":")[i // len(PALETTE) % 3]
        style = {"color": color, "marker": MARKERS[i % len(MARKERS)], "linestyle": dashes}
        yield _name(value), table[by].isin([value]).to_numpy(), style


def _scale(ax: Axes, places: Array) -> None:
    """Choose the scale of the horizontal axis, and tick the values that were tried."""
    if len(places) > 2 and places[0] > 0 and places[-1] / places[0] > 10:
        ax.set_xscale("log")
    if len(places) <= 12:
        ax.set_xticks(places, [_name(place) for place in places])
        ax.set_xticks([], minor=True)
    ax.tick_params(axis="x", labelsize=8)


def _numbers(table: pd.DataFrame, key: str) -> Array:
    for value in table[key].tolist():
        if isinstance(value, str) or pd.isna(value):
            raise InputError(
                f"key={key!r} has the value {value!r}; expected numbers; draw a heat map instead"
            )
    return table[key].to_numpy(dtype=float)


def _values(table: pd.DataFrame, key: str) -> list[Value]:
    return ordered(value for value in table[key].tolist() if not pd.isna(value))


def _name(value: Value) -> str:
    if isinstance(value, str):
        return caption(value, length=24).replace("$", r"\$")  # two of them would mean a formula
    return f"{value:.10g}"


def _axis_name(metric: str) -> str:
    """Return a metric and, where it is known, which way it is better."""
    better = METRICS[metric].better if metric in METRICS else ""
    return caption(metric, length=50) + (f" ({better} is better)" if better else "")


def _set_title(ax: Axes, metric: str, note: str) -> None:
    text = caption(metric, length=80) + (f"\n{note}" if note else "")
    ax.set_title(text, fontsize=10, parse_math=False)


def _check(table: pd.DataFrame, names: Sequence[str]) -> None:
    known = [str(name) for name in table.columns]
    for name in names:
        if name not in known:
            raise InputError(
                f"column {name!r} is not in the table of the sweep; expected one of "
                f"{', '.join(known)}{nearest(name, known)}"
            )
