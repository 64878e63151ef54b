"""Figures of dreams: original, dream and difference, with what the recognizer hears below.

Original and dream share one scale, in dB relative to the loudest point of the original; the
difference has a symmetric one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from irdream.errors import InputError
from irdream.reports.figures import (
    GRAY,
    add_color_bar,
    caption,
    draw_bars,
    draw_spectrogram,
    label_spectrogram,
)

Array = NDArray[np.floating]

_PANELS, _BARS = ("first", "second", "change"), "outputs"


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
    """Draw a dream; it takes 0.3 s, written as PNG.

    Args:
        original_db: log-mel spectrogram in dB (20 log10 of the magnitude), (n_mels, frames).
        dream_db: the same of the dream.
        hop_seconds: time between frames.
        mel_frequencies_hz: centers of the mel bands, (n_mels,), ascending.
        title: of the whole figure.
        labels: of the first two panels, such as ("noise", "dream").
        instruments: codes, the axis of the probabilities.
        probabilities_before: of the original, (instruments,), 0..1.
        probabilities_after: of the dream as a spectrogram; bars are drawn where both are given.
        probabilities_wav: of the dream as written to a sound file; drawn as diamonds.
        target: code of the target, drawn in another color.
        confidence: probability that counts as success; drawn as a line.
        range_db: what is shown below the loudest point.

    Raises:
        InputError: when there is not one value for each mel band or instrument.
    """
    original, dream = np.asarray(original_db, float), np.asarray(dream_db, float)
    mel_hz = np.asarray(mel_frequencies_hz, float)
    if len(original) != len(mel_hz):
        raise InputError(
            f"a spectrogram of {len(original)} mel bands; expected {len(mel_hz)}, one for each of "
            "mel_frequencies_hz"
        )
    has_bars = probabilities_before is not None and probabilities_after is not None
    figure, axes = _figure(has_bars)
    peak, difference = float(original.max()), dream - original
    rmse_db = float(np.sqrt(np.mean(difference**2)))
    _draw_levels(axes, original - peak, dream - peak, hop_seconds, range_db, labels[0])
    _draw_difference(axes["change"], difference, hop_seconds)
    heads = (*labels, f"{labels[1]} − {labels[0]}: RMSE {rmse_db:.2f} dB")
    for name, head in zip(_PANELS, heads, strict=True):
        label_spectrogram(axes[name], mel_hz)
        axes[name].tick_params(labelleft=name == "first")
        axes[name].set_title(caption(head, length=60), fontsize=10, parse_math=False)
    axes["first"].set_ylabel("frequency (Hz)", fontsize=9)
    if has_bars:
        outputs = [probabilities_before, probabilities_after, probabilities_wav]
        _draw_outputs(axes[_BARS], outputs, instruments, target, confidence)
    figure.suptitle(caption(title), y=0.99, fontsize=11, parse_math=False)
    return figure


def _figure(has_bars: bool) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure and its axes by name; a fixed layout is drawn in half the time."""
    figure = Figure(figsize=(11.0, 5.0 if has_bars else 3.12))
    rows = [_PANELS, (_BARS,) * 3] if has_bars else [_PANELS]
    axes = figure.subplot_mosaic(
        [list(row) for row in rows], height_ratios=(3.0, 1.3)[: len(rows)],
        gridspec_kw={
            "left": 0.06, "right": 0.955, "wspace": 0.1, "hspace": 0.42,
            "top": 0.89 if has_bars else 0.84, "bottom": 0.06 if has_bars else 0.14,
        },
    )  # fmt: skip
    return figure, axes


def _draw_levels(
    axes: dict[str, Axes],
    original: Array,
    dream: Array,
    hop_seconds: float,
    range_db: float,
    label: str,
) -> None:
    high = max(0.0, float(dream.max()))
    low = high - range_db
    image = [
        draw_spectrogram(ax, values, hop_seconds=hop_seconds, colors="magma", low=low, high=high)
        for ax, values in ((axes["first"], original), (axes["second"], dream))
    ][1]
    extend = "min" if min(original.min(), dream.min()) < low else "neither"
    both = [axes["first"], axes["second"]]
    add_color_bar(image, both, f"dB re loudest of {caption(label, length=20)}", extend)


def _draw_difference(ax: Axes, difference: Array, hop_seconds: float) -> None:
    size = np.abs(difference)
    # A few outliers must not wash out the rest; the arrows say that they exist.
    limit = max(float(np.quantile(size, 0.998)), 0.1)
    image = draw_spectrogram(
        ax, difference, hop_seconds=hop_seconds, colors="RdBu_r", low=-limit, high=limit
    )
    add_color_bar(image, ax, "difference (dB)", "both" if size.max() > limit else "neither")


def _draw_outputs(
    ax: Axes,
    outputs: Sequence[ArrayLike | None],
    instruments: Sequence[str],
    target: str,
    confidence: float | None,
) -> None:
    """Draw the probabilities of the original, of the dream, and of its WAV where there is one."""
    before, after, on_wav = (None if x is None else np.asarray(x, float) for x in outputs)
    sizes = sorted({len(x) for x in (before, after, on_wav) if x is not None})
    if before is None or after is None or sizes != [len(instruments)]:
        raise InputError(
            f"outputs of {sizes} instruments; expected {len(instruments)} in each, one for each of "
            "the instruments"
        )
    places = np.arange(len(instruments))
    ax.bar(places - 0.2, before, width=0.36, color=GRAY, label="before")
    draw_bars(ax, after, instruments, target, confidence, shift=0.2, width=0.36)
    if on_wav is not None:
        ax.plot(
            places + 0.2, on_wav, "D", color="white", markeredgecolor="black", markersize=4.5,
            label="of the written WAV", clip_on=False,
        )  # fmt: skip
    ax.set_ylabel("probability", fontsize=9)
    ax.legend(
        fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2,
        borderpad=0, borderaxespad=0.3, handletextpad=0.4,
    )  # fmt: skip
