"""Figures of dreams: spectrograms and outputs, curves; and what other figures are made of, too.

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
RANGE_DB = 80.0  # shown below the loudest point of a dream and its original
MAX_FRAMES = 400  # that a panel draws: as many as it has pixels
MOST_BARS = 16  # of instruments
TICKS_HZ = (100, 300, 1000, 3000, 8000, 20_000)
_HIGHEST, _LARGEST = 0.999, 0.99  # shares of the values within the scales
_PANELS = ("original", "dream", "change")


class NotebookFigure(Figure):
    """A figure that a notebook draws without pyplot, too."""

    def _repr_png_(self) -> bytes:
        drawn = io.BytesIO()
        self.savefig(drawn, format="png")
        return drawn.getvalue()


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG at 125 dots per inch, whole or not at all, or raise OSError.

    What the font lacks is drawn without a warning: a title may carry any file name.
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
        places, [fill(x, 11, max_lines=2, placeholder="…") for x in instruments], fontsize=7.5
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
    """Hide the upper and right spines of a chart."""
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


# Spectrograms ---------------------------------------------------------------------------------


class SpectrogramScales:
    """Draws log-mels in dB (n_mels, frames) and their differences, all on the scales of one figure.

    The loudest point of the originals counts as 0 dB, and `range_db` is shown below that of
    originals and dreams; few bright points do not decide. `frequencies_hz` are the centers of the
    bands, (n_mels,), ascending, and `hop_seconds` is the time between frames; None: unknown.
    """

    def __init__(
        self,
        originals: Sequence[Array],
        dreams: Sequence[Array],
        differences: Sequence[Array],
        *,
        range_db: float,
        frequencies_hz: ArrayLike | None,
        hop_seconds: float | None,
        ticks_hz: Sequence[int] = (300, 1000, 3000, 8000),
    ) -> None:
        self.hop_seconds, self.ticks_hz = hop_seconds or 1.0, ticks_hz
        self.time = "time (s)" if hop_seconds else "frame"
        self.mel_hz = None if frequencies_hz is None else np.asarray(frequencies_hz, float)
        self.peak_db = max(float(one.max()) for one in originals)
        loud = float(np.quantile(np.concatenate([one.ravel() for one in dreams]), _HIGHEST))
        self.high_db = max(0.0, loud - self.peak_db)
        self.low_db = self.high_db - range_db
        changes = np.abs(np.concatenate([one.ravel() for one in differences]))
        self.limit_db = max(float(np.quantile(changes, _LARGEST)), 0.1)

    def log_mel(self, ax: Axes, values: Array) -> AxesImage:
        """Draw a log-mel in dB, with ticks and without their labels."""
        return self._draw(ax, values - self.peak_db, "magma", self.low_db, self.high_db)

    def difference(self, ax: Axes, values: Array) -> AxesImage:
        """Draw a difference in dB, on its own scale."""
        return self._draw(ax, values, "RdBu_r", -self.limit_db, self.limit_db)

    def label(self, ax: Axes, title: str, *, is_left: bool, is_bottom: bool) -> None:
        """Set a panel's title, and the labels of its axes where it is at an edge."""
        ax.set_title(title, fontsize=10)
        ax.tick_params(labelleft=is_left, labelbottom=is_bottom)
        ax.set_xlabel(self.time if is_bottom else "", fontsize=9)
        unit = "band" if self.mel_hz is None else "frequency (Hz)"
        ax.set_ylabel(unit if is_left else "", fontsize=9)

    def _draw(self, ax: Axes, values: Array, colors: str, low: float, high: float) -> AxesImage:
        n_mels, frames = values.shape
        edges = np.linspace(0, frames, min(frames, MAX_FRAMES) + 1).astype(int)
        thinned = np.add.reduceat(values, edges[:-1], axis=1) / np.diff(edges)  # neighbors' means
        image = ax.imshow(
            thinned, cmap=colors, vmin=low, vmax=high, origin="lower", aspect="auto",
            interpolation="nearest",
            extent=(0.0, frames * self.hop_seconds, -0.5, n_mels - 0.5),
        )  # fmt: skip
        if (hz := self.mel_hz) is not None:
            shown = [one for one in self.ticks_hz if hz[0] <= one <= hz[-1]]
            ax.set_yticks(np.interp(shown, hz, np.arange(len(hz))), [str(one) for one in shown])
        ax.tick_params(labelsize=8, labelleft=False, labelbottom=False)
        return image

    def outline(self, ax: Axes, region: NDArray[np.bool_], color: str) -> None:
        """Draw lines around the bins that are set, also along the edge of the spectrogram."""
        if not region.any():
            return
        bands, frames = (np.arange(-1, size + 1) for size in region.shape)
        seconds, inside = (frames + 0.5) * self.hop_seconds, np.pad(region, 1).astype(float)
        limits = ax.axis()
        ax.contour(seconds, bands, inside, levels=[0.5], colors=color, linewidths=1.0)
        ax.axis(limits)


def spectrograms_figure(
    original_db: ArrayLike,
    dream_db: ArrayLike,
    *,
    hop_seconds: float | None,
    frequencies_hz: ArrayLike | None,
    instruments: Sequence[str],
    probabilities_before: ArrayLike,
    probabilities_after: ArrayLike,
    probabilities_wav: ArrayLike | None = None,
    target: str = "",
    confidence: float | None = None,
    title: str = "",
) -> Figure:
    """Draw a dream; it takes 0.3 s, written as PNG.

    Args:
        original_db, dream_db: log-mels in dB (20 log10 of the magnitude), (n_mels, frames).
        hop_seconds: time between frames; None: unknown.
        frequencies_hz: centers of the bands, (n_mels,), ascending; None: unknown.
        instruments: codes, the axis of the probabilities.
        probabilities_before, probabilities_after, probabilities_wav: of the original, the dream
            as a spectrogram, and as a sound file, drawn as diamonds: (instruments,), 0 to 1.
        target: code, drawn in another color.
        confidence: probability that counts as success; drawn as a line.
    """
    original, dream = np.asarray(original_db, float), np.asarray(dream_db, float)
    difference = dream - original
    scales = SpectrogramScales(
        [original], [original, dream], [difference],
        range_db=RANGE_DB, frequencies_hz=frequencies_hz, hop_seconds=hop_seconds,
        ticks_hz=TICKS_HZ,
    )  # fmt: skip
    figure = NotebookFigure(figsize=(11.0, 5.0))
    axes = figure.subplot_mosaic(  # a fixed layout is drawn in half the time
        [list(_PANELS), ["outputs"] * 3], height_ratios=(3.0, 1.3),
        gridspec_kw={
            "left": 0.06, "right": 0.955, "wspace": 0.1, "hspace": 0.42, "top": 0.89,
            "bottom": 0.06,
        },
    )  # fmt: skip
    scales.log_mel(axes["original"], original)
    levels = scales.log_mel(axes["dream"], dream)
    change = scales.difference(axes["change"], difference)
    heads = (
        "original",
        "dream",
        f"dream − original: RMSE {np.sqrt(np.mean(difference**2)):.2f} dB",
    )
    for panel, head in zip(_PANELS, heads, strict=True):
        scales.label(axes[panel], head, is_left=panel == "original", is_bottom=True)
    add_color_bar(levels, [axes["original"], axes["dream"]], "dB re loudest of original")
    add_color_bar(change, axes["change"], "difference (dB)")
    _draw_outputs(
        axes["outputs"], probabilities_before, probabilities_after, probabilities_wav, instruments,
        target, confidence,
    )  # fmt: skip
    figure.suptitle(caption(title), y=0.99, fontsize=11, parse_math=False)
    return figure


def attribution_figure(
    rows: Sequence[Sequence[tuple[str, Array]]],
    *,
    hop_seconds: float | None,
    centers_hz: ArrayLike | None,
    title: str = "",
) -> Figure:
    """Draw log-mels and maps side by side, in rows of equal length.

    Args:
        rows: titles and values (n_mels, frames); what is titled "for" a class is a map, drawn in
            units of the 99th percentile of its magnitude, all else a log-mel in dB, whose scale is
            that of the first.
        hop_seconds: time between frames; None: they are counted.
        centers_hz: centers of the bands, (n_mels,), ascending; None: unknown.
        title: of the whole figure.
    """
    first = rows[0][0][1]
    scales = SpectrogramScales(
        [first], [first], [np.ones(1)], range_db=RANGE_DB, frequencies_hz=centers_hz,
        hop_seconds=hop_seconds, ticks_hz=TICKS_HZ,
    )  # fmt: skip
    figure = NotebookFigure(figsize=(12.0, 0.6 + 2.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for (i, j), ax in np.ndenumerate(axes):
        head, values = rows[i][j]
        if head.startswith("for "):
            most = float(np.quantile(np.abs(values), 0.99)) or 1.0
            drawn = scales.difference(ax, values / most)
            add_color_bar(drawn, ax, "against, for the class; 1: 99th percentile")
        else:
            add_color_bar(scales.log_mel(ax, values), ax, "dB re loudest of original")
        scales.label(ax, head, is_left=j == 0, is_bottom=i == len(rows) - 1)
    figure.suptitle(caption(title), fontsize=11, parse_math=False)
    return figure


def _draw_outputs(
    ax: Axes,
    before: ArrayLike,
    after: ArrayLike,
    on_wav: ArrayLike | None,
    instruments: Sequence[str],
    target: str,
    confidence: float | None,
) -> None:
    """Draw the probabilities of the original, of the dream, and of its WAV where there is one."""
    outputs = [np.asarray(x) for x in (before, after, on_wav) if x is not None]
    order = sorted(range(len(instruments)), key=lambda i: -max(x[i] for x in outputs))
    order.sort(key=lambda i: instruments[i] != target)  # the target first, then the highest
    drawn = sorted(order[:MOST_BARS])
    before, after, *wavs = (x[drawn] for x in outputs)
    instruments = [instruments[i] for i in drawn]
    places = np.arange(len(drawn))
    ax.bar(places - 0.2, before, width=0.36, color=GRAY, label="before")
    draw_bars(ax, after, instruments, target, confidence, shift=0.2, width=0.36)
    for wav in wavs:
        ax.plot(
            places + 0.2, wav, "D", color="white", markeredgecolor="black",
            markersize=4.5, label="of the written WAV", clip_on=False,
        )  # fmt: skip
    highest = f" (highest {len(drawn)})" if len(order) > len(drawn) else ""
    ax.set_ylabel(f"probability{highest}", fontsize=9)
    ax.legend(
        fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2,
        borderpad=0, borderaxespad=0.3, handletextpad=0.4,
    )  # fmt: skip
