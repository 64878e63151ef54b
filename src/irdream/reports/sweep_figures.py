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
from irdream.reports.figures import add_color_bar, caption, plain

Value = int | float | str


def ordered(values: Iterable[Value]) -> list[Value]:
    """Return each value once: numbers from the least, then words as they come."""
    once = list(dict.fromkeys(values))
    words = [value for value in once if isinstance(value, str)]
    return [*sorted(value for value in once if not isinstance(value, str)), *words]


Array = NDArray[np.floating]
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def heat_map_figure(
    table: pd.DataFrame, rows: str, columns: str, metric: str, *, title: str = ""
) -> Figure:
    """Draw a metric over two swept values, with its numbers in the cells.

    Numbers stand from the least to the greatest, from above and from the left. A cell of
    several jobs shows the mean of those that have the metric. "×" marks a cell in which jobs
    failed, with their count where there is more than one job; a cell without a job is blank.

    Args:
        table: a row a job: status, and the columns named below.
        rows: key on the rows.
        columns: key on the columns.
        metric: what is drawn; jobs without it do not count.
        title: of the figure.

    Raises:
        InputError: when the table lacks a column.
    """
    _check(table, ["status", rows, columns, metric])
    down, across = _values(table, rows), _values(table, columns)
    groups = [[_cell(table, {rows: r, columns: c}, metric) for c in across] for r in down]
    means = np.array([[_mean(values) for values, _, _ in row] for row in groups], ndmin=2)
    width, height = _size(down, across)
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(np.ma.masked_invalid(means), cmap="viridis", aspect="auto")
    wide, high = (width - 2.4) / max(len(across), 1), (height - 1.5) / max(len(down), 1)
    _write_cells(ax, groups, digits=_digits(means), font_size=min(10.0, 15 * wide, 30 * high))
    _label_axis(ax, down, across, rows, columns, inches=wide)
    if np.isfinite(means).any():
        add_color_bar(image, ax, caption(metric, length=50))
    _set_title(ax, title or metric, _note(groups))
    return figure


Cell = tuple[list[float], int, int]  # values of the metric, jobs, failed jobs


def _cell(table: pd.DataFrame, at: dict[str, Value], metric: str) -> Cell:
    keep = np.ones(len(table), bool)
    for name, value in at.items():
        keep &= np.array([found == value for found in table[name]], bool)
    here = table.iloc[np.flatnonzero(keep)]
    values = here[metric].to_numpy(dtype=float)
    return values[np.isfinite(values)].tolist(), len(here), int((here["status"] == "failed").sum())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _text(cell: Cell, digits: int) -> str:
    values, jobs, failed = cell
    number = f"{_mean(values):.{digits}f}" if values else ""
    mark = "×" if failed and jobs == 1 else f"× {failed} of {jobs}" if failed else ""
    nothing = "" if jobs == 0 else "–"
    return "\n".join(part for part in (number, mark) if part) or nothing


def _digits(values: Array) -> int:
    """Return the decimals that give the greatest value three digits."""
    greatest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    return int(np.clip(2 - math.floor(math.log10(greatest or 1.0)), 0, 9))


def _size(down: Sequence[Value], across: Sequence[Value]) -> tuple[float, float]:
    """Return width and height in inches."""
    width, height = 2.4 + 0.95 * len(across), 1.5 + 0.55 * len(down)
    return float(np.clip(width, 6.0, 18.0)), float(np.clip(height, 3.2, 14.0))


def _write_cells(
    ax: Axes, groups: Sequence[Sequence[Cell]], *, digits: int, font_size: float
) -> None:
    """Write the numbers on their colors; cells without one are gray, hatched if jobs failed."""
    image = ax.images[0]
    for row, cells in enumerate(groups):
        for column, cell in enumerate(cells):
            values, jobs, failed = cell
            color = "black"
            if values:
                color = _readable_on(image.to_rgba(np.array(_mean(values))))
            elif jobs:
                style: Any = {"facecolor": "0.93", "edgecolor": "0.7", "hatch": "//" * bool(failed)}
                ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))
            if font_size >= 4.0:
                ax.text(
                    column, row, _text(cell, digits), ha="center", va="center", color=color,
                    fontsize=font_size, linespacing=1.1,
                    bbox=None if values or not failed else {"color": "0.93", "pad": 1.5},
                )  # fmt: skip


def _readable_on(color: Any) -> str:
    red, green, blue, _ = color
    return "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.55 else "black"


def _label_axis(
    ax: Axes, down: Sequence[Value], across: Sequence[Value], rows: str, columns: str,
    *, inches: float,
) -> None:  # fmt: skip
    """Name the rows and the columns; long names of columns, each `inches` wide, are turned."""
    names = [_name(value) for value in across]
    is_turned = max((len(name) for name in names), default=0) * 0.09 > inches
    ax.set_xticks(np.arange(len(across)), names, fontsize=9, rotation=90 if is_turned else 0)
    ax.set_yticks(np.arange(len(down)), [_name(value) for value in down], fontsize=9)
    ax.set_xlabel(caption(columns, length=60), fontsize=9, parse_math=False)
    ax.set_ylabel(caption(rows, length=60), fontsize=9, parse_math=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def _note(groups: Sequence[Sequence[Cell]]) -> str:
    """Say how many jobs a number is the mean of."""
    counts = [len(values) for row in groups for values, _, _ in row if values]
    if max(counts, default=1) == 1:
        return ""
    least, most = min(counts), max(counts)
    return f"mean of {most} jobs" if least == most else f"mean of {least} to {most} jobs"


def sweep_curve_figure(
    table: pd.DataFrame, key: str, metric: str, by: str | None = None, *, title: str = ""
) -> Figure:
    """Draw a metric over a swept number: a line through the means, and a dot a job.

    The axis is logarithmic where the numbers are above 0 and span more than a decade. A cross
    at the bottom marks a value at which a job failed.

    Args:
        table: a row a job: status, and the columns named below.
        key: on the horizontal axis; all its values are numbers.
        metric: on the vertical axis; jobs without it do not count.
        by: another key, a line for each of its values; None: one line.
        title: of the figure.

    Raises:
        InputError: when the table lacks a column, or a value of `key` is no number.
    """
    _check(table, ["status", key, metric, *([by] if by else [])])
    places = _numbers(table, key)
    figure = Figure(figsize=(8.5 if by else 6.5, 4.4), layout="constrained")
    ax = figure.subplots()
    values = table[metric].to_numpy(dtype=float)
    has_failed = (table["status"] == "failed").to_numpy()
    lines = list(_lines(table, by))
    is_crowded = False
    for i, (name, chosen, style) in enumerate(lines):
        before, here = len(ax.lines), chosen & np.isfinite(values)
        is_crowded |= _draw_line(ax, places[here], values[here], name, style)
        lost, bottom = places[chosen & has_failed], ax.get_xaxis_transform()
        ax.plot(lost, 0.03 + 0 * lost, "x", color=style["color"], transform=bottom)
        points = (i - (len(lines) - 1) / 2) * min(4.0, 24.0 / len(lines))
        aside = ScaledTranslation(points / 72.0, 0.0, figure.dpi_scale_trans)
        for drawn in ax.lines[before:]:  # so that lines do not hide each other
            drawn.set_transform(drawn.get_transform() + aside)
    _scale(ax, np.unique(places))
    ax.set_xlabel(caption(key, length=60), fontsize=9, parse_math=False)
    ax.set_ylabel(caption(metric, length=50), fontsize=9, parse_math=False)
    if by:
        figure.legend(
            loc="outside right upper", title=_name(by), fontsize=8, handlelength=3, frameon=False
        )
    notes = ["a dot a job, a line through the means"] * is_crowded
    notes += [f"× failed: {has_failed.sum()} of {len(table)} jobs"] * bool(has_failed.any())
    _set_title(ax, title or metric, "; ".join(notes))
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
        chosen = np.array([found == value for found in table[by]], bool)
        color = in_order[i] if is_numeric else PALETTE[i % len(PALETTE)]
        dashes = "-" if is_numeric else ("-", "--", ":")[i // len(PALETTE) % 3]
        marker = MARKERS[i % len(MARKERS)]
        yield _name(value), chosen, {"color": color, "marker": marker, "linestyle": dashes}


def _draw_line(ax: Axes, x: Array, y: Array, name: str, style: dict[str, Any]) -> bool:
    """Draw a line through the means, and the jobs where several share a place; tell whether."""
    at = np.unique(x)
    means = [float(y[x == place].mean()) for place in at]
    ax.plot(at, means, **style, markersize=5, linewidth=1.6, label=name)
    is_shared = len(at) < len(x)
    if is_shared:
        ax.plot(x, y, ".", color=style["color"], alpha=0.35, markersize=5, zorder=1)
    return is_shared


def _scale(ax: Axes, places: Array) -> None:
    """Choose the scale of the horizontal axis, and tick the values that were tried."""
    is_wide = len(places) > 2 and places[0] > 0 and places[-1] / places[0] > 10
    if is_wide:
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


def _set_title(ax: Axes, title: str, note: str) -> None:
    text = caption(title, length=80) + (f"\n{note}" if note else "")
    ax.set_title(text, fontsize=10, parse_math=False)


def _check(table: pd.DataFrame, names: Sequence[str]) -> None:
    known = [str(name) for name in table.columns]
    for name in names:
        if name not in known:
            raise InputError(
                f"column {name!r} is not in the table of the sweep; expected one of "
                f"{', '.join(known)}{nearest(name, known)}"
            )
