"""Figures of dreams: spectrograms with what the recognizer hears in them, curves over steps.

`matplotlib.figure.Figure` is used directly, without pyplot: no window system, no list of open
figures that grows over a sweep, and safe in threads. Colors are readable by the color-blind
and in print (magma; red and blue for a signed difference; Okabe and Ito's palette). A figure
takes about 0.4 s, most of it the constrained layout and the PNG.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from irdream.files import replacing

Array = NDArray[np.floating]

BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
DPI = 125
_TICKS_HZ = (100, 300, 1000, 3000, 8000, 20000)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG at 125 dots per inch, whole or not at all.

    Raises:
        OSError: from the system (no such folder, no permission, full disk).
    """
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings(), replacing(path) as file:
        # A title may carry a file name in a script that the font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.print_png(file)  # savefig would lay the figure out twice


def caption(text: str, *, length: int = 100) -> str:
    """Return text that can be drawn: one line, no more than `length`, no control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    half = length // 2
    return printable if len(printable) <= length else f"{printable[:half]} … {printable[-half:]}"


def spectrograms_figure(
    original_db: ArrayLike,
    dream_db: ArrayLike,
    *,
    hop_seconds: float,
    mel_frequencies_hz: ArrayLike,
    title: str = "",
    labels: tuple[str, str] = ("original", "dream"),
    instruments: Sequence[str] = (),
    probabilities_before: ArrayLike | None = None,
    probabilities_after: ArrayLike | None = None,
    probabilities_wav: ArrayLike | None = None,
    target: str = "",
    confidence: float | None = None,
    range_db: float = 80.0,
) -> Figure:
    """Draw original, dream and difference side by side, with the recognizer's outputs below.

    Original and dream share one scale, in dB relative to the loudest point of the original;
    the difference has a symmetric one. The outputs are drawn when `instruments` and both
    probabilities are given: below the original those before, below the dream those after,
    below the difference their change.

    Args:
        original_db: log-mel spectrogram in dB (20 log10 of the magnitude), (n_mels, frames).
        dream_db: the same of the dream.
        hop_seconds: time between frames.
        mel_frequencies_hz: centers of the mel bands, (n_mels,), ascending.
        title: of the whole figure.
        labels: of the first two panels, such as ("noise", "dream").
        instruments: codes, the axis of the probabilities.
        probabilities_before: of the original, (instruments,), 0..1.
        probabilities_after: of the dream as a spectrogram.
        probabilities_wav: of the dream as written to a sound file; drawn as diamonds.
        target: code of the target, drawn in another color.
        confidence: probability that counts as success; drawn as a line.
        range_db: what is shown below the loudest point.
    """
    original, dream = np.asarray(original_db, float), np.asarray(dream_db, float)
    has_bars = probabilities_before is not None and probabilities_after is not None
    figure = Figure(figsize=(11, 5.0 if has_bars else 3.1), layout="constrained")
    heights = (3, 1.6) if has_bars else (1,)
    axes = figure.subplots(len(heights), 3, squeeze=False, height_ratios=heights)
    _draw_spectrograms(
        axes[0], original, dream, hop_seconds=hop_seconds, range_db=range_db, labels=labels
    )
    for ax in axes[0]:
        label_spectrogram(ax, np.asarray(mel_frequencies_hz, float))
        ax.tick_params(labelleft=ax is axes[0, 0])
    axes[0, 0].set_ylabel("frequency (Hz)", fontsize=9)
    if probabilities_before is not None and probabilities_after is not None:
        before, after = np.asarray(probabilities_before), np.asarray(probabilities_after)
        draw_bars(axes[1, 0], before, instruments, target, confidence)
        draw_bars(axes[1, 1], after, instruments, target, confidence)
        _draw_wav(axes[1, 1], probabilities_wav)
        draw_bars(axes[1, 2], after - before, instruments, target, None)
        axes[1, 0].set_ylabel("probability", fontsize=9)
        axes[1, 2].set_ylabel("change", fontsize=9)
    if title:
        figure.suptitle(caption(title), fontsize=11, parse_math=False)
    return figure


def _draw_spectrograms(
    axes: Sequence[Axes],
    original: Array,
    dream: Array,
    *,
    hop_seconds: float,
    range_db: float,
    labels: tuple[str, str],
) -> None:
    peak = float(original.max())
    top = max(0.0, float(dream.max()) - peak)
    difference = dream - original
    # A few outliers must not wash out the rest; the color bar's arrows say that they exist.
    limit = max(float(np.quantile(np.abs(difference), 0.998)), 0.1)
    scales = [("magma", top - range_db, top)] * 2 + [("RdBu_r", -limit, limit)]
    rmse_db = float(np.sqrt(np.mean(difference**2)))
    titles = (*labels, f"{labels[1]} − {labels[0]}: RMSE {rmse_db:.2f} dB")
    images = []
    for ax, name, values, (colors, low, high) in zip(
        axes, titles, (original - peak, dream - peak, difference), scales, strict=True
    ):
        images.append(
            draw_plane(ax, values, hop_seconds=hop_seconds, colors=colors, low=low, high=high)
        )
        ax.set_title(caption(name, length=60), fontsize=10, parse_math=False)
    lowest = min(float(original.min()), float(dream.min())) - peak
    below = "min" if lowest < top - range_db else "neither"
    beyond = "both" if float(np.abs(difference).max()) > limit else "neither"
    add_color_bar(images[1], axes[1], f"dB re loudest of {caption(labels[0], length=20)}", below)
    add_color_bar(images[2], axes[2], "difference (dB)", beyond)


def draw_plane(
    ax: Axes, values: Array, *, hop_seconds: float, colors: str, low: float, high: float
) -> AxesImage:
    """Draw values (n_mels, frames) over seconds and mel bands, in colors from `low` to `high`."""
    n_mels, frames = values.shape
    extent = (0.0, frames * hop_seconds, -0.5, n_mels - 0.5)
    return ax.imshow(
        _thin(values), cmap=colors, vmin=low, vmax=high, extent=extent, origin="lower",
        aspect="auto", interpolation="nearest",
    )  # fmt: skip


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


def draw_bars(
    ax: Axes, values: Array, instruments: Sequence[str], target: str, confidence: float | None
) -> None:
    """Draw probabilities, or their changes, as bars, with that of the target in orange."""
    places = np.arange(len(instruments))
    colors = [ORANGE if code == target else BLUE for code in instruments]
    ax.bar(places, values, color=colors, width=0.75)
    ax.set_xticks(places, list(instruments), fontsize=7.5)
    for label, color, code in zip(ax.get_xticklabels(), colors, instruments, strict=True):
        label.set_color(color if code == target else "black")
        label.set_fontweight("bold" if code == target else "normal")
    is_signed = bool((values < 0).any())
    ax.set_ylim(-1 if is_signed else 0, 1.04)
    ax.set_yticks([-1, -0.5, 0, 0.5, 1] if is_signed else [0, 0.5, 1])
    ax.axhline(0, color="black", linewidth=0.6)
    if confidence is not None:
        ax.axhline(confidence, color=GRAY, linewidth=0.8, linestyle="--", zorder=0)
    plain(ax)


def _draw_wav(ax: Axes, probabilities_wav: ArrayLike | None) -> None:
    if probabilities_wav is None:
        return
    values = np.asarray(probabilities_wav)
    ax.plot(
        np.arange(len(values)), values, "D", color="white", markeredgecolor="black",
        markersize=4.5, label="of the written WAV", clip_on=False,
    )  # fmt: skip
    ax.legend(fontsize=7, frameon=False, loc="upper right", borderpad=0, handletextpad=0.2)


def plain(ax: Axes) -> None:
    """Take away what a chart does not need."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", labelsize=8)


def curve_figure(
    probabilities: Sequence[ArrayLike], *, confidence: float | None = None, title: str = ""
) -> Figure:
    """Draw the target probability over ascent steps: a thin line a dream, and their median.

    A dream that stopped early keeps its last value in the median.

    Args:
        probabilities: for each dream its target probability at steps 0, 1, ...: (steps,).
        confidence: probability that counts as success; drawn as a line.
        title: of the figure.
    """
    curves = [np.asarray(curve, float) for curve in probabilities]
    steps = max((len(curve) for curve in curves), default=1)
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    ax = figure.subplots()
    opacity = float(np.clip(12 / max(len(curves), 1), 0.08, 0.6))
    for curve in curves:
        ax.plot(np.arange(len(curve)), curve, color=BLUE, alpha=opacity, linewidth=0.8)
        ax.plot(len(curve) - 1, curve[-1], ".", color=BLUE, alpha=opacity, markersize=4)
    if curves:
        held = [np.pad(curve, (0, steps - len(curve)), mode="edge") for curve in curves]
        median = np.median(held, axis=0)
        name = "a dream" if len(curves) == 1 else f"median of {len(curves)} dreams"
        ax.plot(np.arange(steps), median, color=ORANGE, linewidth=2.2, label=name)
        ax.legend(fontsize=8, frameon=False, loc="lower right")
    if confidence is not None:
        ax.axhline(confidence, color="black", linewidth=0.9, linestyle="--")
        ax.annotate(
            f"{confidence:g}", (1, confidence), xycoords=("axes fraction", "data"),
            xytext=(3, 0), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    ax.set(xlim=(0, max(steps - 1, 1)), ylim=(-0.02, 1.02))
    ax.set_xlabel("ascent step", fontsize=9)
    ax.set_ylabel("target probability", fontsize=9)
    ax.set_title(caption(title, length=80), fontsize=10, parse_math=False)
    plain(ax)
    return figure
