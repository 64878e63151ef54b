"""What figures are made of: planes, bars, color bars, colors, PNG files; and curves over steps.

`matplotlib.figure.Figure` is used directly, without pyplot: no window system, no list of open
figures that grows over a sweep, and safe in threads. Colors are readable by the color-blind
and in print (magma; red and blue for a signed difference; Okabe and Ito's palette).
"""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from irdream.files import replacing

Array = NDArray[np.floating]

BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#7F7F7F"
DPI = 125
_TICKS_HZ = (100, 300, 1000, 3000, 8000, 20000)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG at 125 dots per inch, whole or not at all.

    Raises:
        OSError: from the system (no such folder, no permission, full disk).
    """
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with any_script():
        canvas.draw()  # savefig would lay the figure out twice
    write_png(canvas, path)


@contextlib.contextmanager
def any_script() -> Iterator[None]:
    """Draw without a warning what the font lacks: a title may carry any file name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def write_png(canvas: FigureCanvasAgg, path: str | Path) -> None:
    """Write what was drawn as an opaque PNG, whole or not at all.

    No row is filtered: figures are flat areas and repeated pixels, and so take a quarter less
    space and half the time of Pillow, which tries five filters a row.
    """
    pixels = np.asarray(canvas.buffer_rgba())
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter: none
    rows[:, 1:].reshape(height, width, 3)[:] = pixels[..., :3]
    per_meter = round(DPI / 0.0254)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),  # 8 bits of R, G and B
        b"pHYs": struct.pack(">IIB", per_meter, per_meter, 1),
        b"IDAT": zlib.compress(rows.data, 3),
        b"IEND": b"",
    }
    with replacing(path) as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks.items():
            checksum = zlib.crc32(name + data)
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum))


def caption(text: str, *, length: int = 100) -> str:
    """Return text that can be drawn: one line, no more than `length`, no control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    half = length // 2
    return printable if len(printable) <= length else f"{printable[:half]} … {printable[-half:]}"


def draw_plane(
    ax: Axes, values: Array, *, hop_seconds: float, colors: str, low: float, high: float
) -> AxesImage:
    """Draw values (n_mels, frames) over seconds and mel bands, in colors from `low` to `high`."""
    image = ax.imshow(
        np.zeros((1, 1)), cmap=colors, origin="lower", aspect="auto", interpolation="nearest"
    )
    show_plane(image, values, hop_seconds=hop_seconds, low=low, high=high)
    return image


def show_plane(
    image: AxesImage, values: Array, *, hop_seconds: float, low: float, high: float
) -> None:
    """Show other values on a plane that was drawn."""
    n_mels, frames = values.shape
    image.set_data(_thin(values))
    image.set_extent((0.0, frames * hop_seconds, -0.5, n_mels - 0.5))
    image.set_clim(low, high)


def _thin(values: Array, *, max_frames: int = 400) -> Array:
    """Average neighboring frames until no more are left than the panel has pixels."""
    frames = values.shape[1]
    edges = np.linspace(0, frames, min(frames, max_frames) + 1).astype(int)
    return np.add.reduceat(values, edges[:-1], axis=1) / np.diff(edges)


def add_color_bar(
    image: AxesImage, axes: Axes | Sequence[Axes], label: str, extend: str = "neither"
) -> None:
    """Put the scale of an image beside axes, with arrows where values lie beyond it."""
    figure = image.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=axes, extend=extend, pad=0.02, aspect=25)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


class Scale:
    """A color bar whose limits can be changed: its colors and its label stay where they are.

    Arrows at its ends say that there are values beyond them.

    Args:
        ax: a narrow one, to be filled.
        colors: name of the colors.
        label: written beside the numbers.
        label_pixels: from the left of the bar to the middle of the label.
    """

    def __init__(self, ax: Axes, colors: str, label: str, *, label_pixels: float) -> None:
        self.ax = ax
        ax.imshow(
            np.linspace(0, 1, 256)[:, None], cmap=colors, extent=(0, 1, 0, 1), origin="lower",
            aspect="auto", transform=ax.transAxes,
        )  # fmt: skip
        ax.set_xticks([])
        ax.yaxis.tick_right()
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        ax.tick_params(labelsize=8)
        ax.text(
            label_pixels / ax.bbox.width, 0.5, label, rotation=90, ha="center", va="center",
            fontsize=9, parse_math=False, transform=ax.transAxes,
        )  # fmt: skip
        self.below, self.above = (
            ax.add_patch(
                Polygon(
                    [(0, end), (1, end), (0.5, tip)], facecolor=colormaps[colors](float(end)),
                    edgecolor="black", linewidth=0.8, clip_on=False, transform=ax.transAxes,
                )
            )
            for end, tip in ((0, -0.04), (1, 1.04))
        )  # fmt: skip

    def show(self, low: float, high: float, *, below: bool, above: bool) -> None:
        """Change its limits, and whether there are values beyond them."""
        self.ax.set_ylim(low, high)
        self.below.set_visible(below)
        self.above.set_visible(above)

    def moving(self) -> list[Artist]:
        """Return what `show` changes and what is drawn over it, in the order of drawing."""
        return [self.below, self.above, self.ax.yaxis, *self.ax.spines.values()]


def label_spectrogram(
    ax: Axes, mel_frequencies_hz: Array, *, ticks_hz: Sequence[int] = _TICKS_HZ
) -> None:
    """Put ticks in Hz on an axis whose unit is the mel band, and seconds below."""
    low, high = mel_frequencies_hz[0], mel_frequencies_hz[-1]
    shown = [hz for hz in ticks_hz if low <= hz <= high]
    places = np.interp(shown, mel_frequencies_hz, np.arange(len(mel_frequencies_hz)))
    ax.set_yticks(places, [str(hz) for hz in shown])
    ax.set_xlabel("time (s)", fontsize=9)
    ax.tick_params(labelsize=8)


class Bars:
    """Probabilities, or their changes, as bars that can be given other heights.

    Args:
        ax: where they stand.
        instruments: codes, one a bar.
        is_signed: whether there are values below 0.
        confidence: drawn as a line.
    """

    def __init__(
        self, ax: Axes, instruments: Sequence[str], *, is_signed: bool, confidence: float | None
    ) -> None:
        self.ax, self.instruments = ax, list(instruments)
        places = np.arange(len(self.instruments))
        self.bars = ax.bar(places, np.zeros(len(places)), width=0.75).patches
        ax.set_xticks(places, self.instruments, fontsize=7.5)
        ax.set_ylim(-1 if is_signed else 0, 1.04)
        ax.set_yticks([-1, -0.5, 0, 0.5, 1] if is_signed else [0, 0.5, 1])
        ax.axhline(0, color="black", linewidth=0.6)
        if confidence is not None:
            ax.axhline(confidence, color=GRAY, linewidth=0.8, linestyle="--", zorder=0)
        plain(ax)

    def show(self, values: Array, target: str) -> None:
        """Show these values, (instruments,), with that of the target in orange."""
        labels = self.ax.get_xticklabels()
        for bar, label, value, code in zip(
            self.bars, labels, values, self.instruments, strict=True
        ):
            is_target = code == target
            bar.set_height(float(value))
            bar.set_facecolor(ORANGE if is_target else BLUE)
            label.set_color(ORANGE if is_target else "black")
            label.set_fontweight("bold" if is_target else "normal")


def draw_bars(
    ax: Axes, values: Array, instruments: Sequence[str], target: str, confidence: float | None
) -> None:
    """Draw probabilities, or their changes, as bars, with that of the target in orange."""
    is_signed = bool((values < 0).any())
    Bars(ax, instruments, is_signed=is_signed, confidence=confidence).show(values, target)


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

    A dream that stopped early keeps its last value in the median.

    Args:
        curves: for each dream its value at steps 0, 1, ...: (steps,).
        label: what the value is.
        limits: of the vertical axis; None: as the values ask for.
        bar: a value that is drawn as a line.
        title: of the figure.
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
