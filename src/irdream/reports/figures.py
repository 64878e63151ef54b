"""What figures are made of: bars, color bars, PNG files; and curves over steps.

`matplotlib.figure.Figure` is used directly, without pyplot: no window system, no list of open
figures that grows over a sweep, and safe in threads. Colors are readable by the color-blind
and in print (magma; red and blue for a signed difference; Okabe and Ito's palette).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from irdream.files import replacing
from irdream.instruments import name

Array = NDArray[np.floating]

BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#7F7F7F"
DPI = 125
MOST_CLASSES = 24  # in a figure over time


class NotebookFigure(Figure):
    """A figure that a notebook draws without pyplot, too."""

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.savefig(drawn, format="png")
        return drawn.getvalue()


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG at 125 dots per inch, whole or not at all.

    What the font lacks is drawn without a warning: a title may carry any file name.

    Raises:
        OSError: from the system (no such folder, no permission, full disk).
    """
    with replacing(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="png", dpi=DPI)


def caption(text: str, *, length: int = 100) -> str:
    """Return text that can be drawn: one line, no more than `length`, no control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    half = length // 2
    return printable if len(printable) <= length else f"{printable[:half]} … {printable[-half:]}"


def add_color_bar(image: AxesImage, axes: Axes | Sequence[Axes], label: str) -> None:
    """Put the scale of an image beside axes, with arrows where its values lie beyond it."""
    figure, (low, high) = image.get_figure(), image.get_clim()
    assert figure is not None
    values = np.ma.asarray(image.get_array())
    beyond = (bool((values < low).any()), bool((values > high).any()))
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}
    bar = figure.colorbar(image, ax=axes, extend=extend.get(beyond, "neither"), pad=0.02, aspect=25)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def draw_bars(
    ax: Axes,
    values: Array,
    instruments: Sequence[str],
    target: str,
    confidence: float | None,
    *,
    shift: float = 0.0,
    width: float = 0.75,
) -> None:
    """Draw probabilities (instruments,) as bars, the target's in orange, the confidence as a line.

    `shift` is to the right; 1 is from one bar to the next.
    """
    places = np.arange(len(instruments))
    colors = [ORANGE if code == target else BLUE for code in instruments]
    ax.bar(places + shift, values, width=width, color=colors)
    ax.set_xticks(
        places, [fill(x, 12, max_lines=2, placeholder="…") for x in instruments], fontsize=7.5
    )
    for label, code in zip(ax.get_xticklabels(), instruments, strict=True):
        if code == target:
            label.set(color=ORANGE, fontweight="bold")
    ax.set(ylim=(0, 1.04), yticks=[0, 0.5, 1])
    if confidence is not None:
        ax.axhline(confidence, color=GRAY, linewidth=0.8, linestyle="--", zorder=0)
    plain(ax)


def over_time_figure(
    probabilities: Array, labels: Sequence[str], seconds: float, *, title: str = ""
) -> Figure:
    """Draw the probabilities (windows, classes) of the most probable classes over time."""
    highest = np.argsort(-probabilities.max(axis=0), kind="stable")[:MOST_CLASSES]
    drawn = np.sort(highest)
    figure = Figure(figsize=(9.0, 1.6 + 0.25 * len(drawn)), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(
        probabilities[:, drawn].T, cmap="magma", vmin=0, vmax=1, aspect="auto",
        interpolation="nearest", extent=(0.0, seconds, len(drawn) - 0.5, -0.5),
    )  # fmt: skip
    ax.set_yticks(np.arange(len(drawn)), [caption(name(labels[int(i)]), length=30) for i in drawn])
    more = f"; the highest {len(drawn)} of {len(labels)} classes" * (len(drawn) < len(labels))
    ax.set_xlabel(f"time (s){more}", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.set_title(caption(title, length=80), fontsize=10, parse_math=False)
    add_color_bar(image, ax, "probability")
    return figure


def plain(ax: Axes) -> None:
    """Take away what a chart does not need."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", labelsize=8)


def curve_figure(
    curves: Sequence[ArrayLike],
    *,
    label: str = "target probability",
    limits: tuple[float, float] | None = (-0.02, 1.02),
    bar: float | None = None,
    title: str = "",
) -> Figure:
    """Draw a value over ascent steps: a thin line a dream, and their median.

    A curve is (steps,), from step 0 on; a dream that stopped early keeps its last value in the
    median. `limits` are those of the vertical axis; None: as the values ask for. `bar` is a value
    that is drawn as a line.
    """
    curves = [np.asarray(curve, float) for curve in curves]
    steps = max((len(curve) for curve in curves), default=1)
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    ax = figure.subplots()
    opacity = float(np.clip(12 / max(len(curves), 1), 0.08, 0.6))
    points = [np.stack([np.arange(len(curve)), curve], axis=1) for curve in curves]
    # One artist for all: 200 lines take a fifth of the time of an artist each.
    ax.add_collection(LineCollection(points, colors=BLUE, alpha=opacity, linewidths=0.8))
    if curves:
        ends = np.stack([one[-1] for one in points])
        ax.plot(*ends.T, ".", color=BLUE, alpha=opacity, markersize=4)
        held = [np.pad(curve, (0, steps - len(curve)), mode="edge") for curve in curves]
        median = np.median(held, axis=0)
        name = "a dream" if len(curves) == 1 else f"median of {len(curves)} dreams"
        ax.plot(np.arange(steps), median, color=ORANGE, linewidth=2.2, label=name)
        ax.legend(fontsize=8, frameon=False, loc="lower right")
    if bar is not None:
        ax.axhline(bar, color="black", linewidth=0.9, linestyle="--")
        ax.annotate(
            f"{bar:g}", (1, bar), xycoords=("axes fraction", "data"),
            xytext=(3, 0), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    ax.set(xlim=(0, max(steps - 1, 1)), ylim=limits)
    ax.set_xlabel("ascent step", fontsize=9)
    ax.set_ylabel(label, fontsize=9)
    ax.set_title(caption(title, length=80), fontsize=10, parse_math=False)
    plain(ax)
    return figure
