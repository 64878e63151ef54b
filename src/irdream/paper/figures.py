"""The spectrogram figures of Cochran and Kim's paper, and what is left of dreams as sound.

All panels of a figure have one scale, in dB relative to the loudest point of all originals, and the
differences one symmetric scale: only so can two panels be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from irdream import instruments
from irdream.audio.stft import DB_PER_NATURAL
from irdream.paper.excerpts import ExcerptFindings, examples
from irdream.paper.noise import NoiseFindings, by_noise
from irdream.recognizer import Recognizer
from irdream.reports.figures import (
    BLUE,
    SpectrogramScales,
    add_color_bar,
    caption,
    draw_bars,
    plain,
)
from irdream.reports.tables import rows_of

Array = NDArray[np.floating]

SHOWN_NOISES = 3
WAY_PANELS = {  # measure: title
    "survival": "survival of the WAV",
    "realized_correlation": "realized correlation",
    "snr_db": "SNR (dB)",
    "masking_violation": "share of bins above masking",
}
KIND_MARKS = {  # kind: name, color, marker, how far above the way's line
    "dream": ("dream", BLUE, "o", 0.2),
    "undreamed": ("undreamed excerpt", "0.6", "D", 0.0),
    "random": ("random change of equal size", "0.6", "s", -0.2),
}


def _mel_axes(recognizer: Recognizer) -> dict[str, Any]:
    """Return the seconds of a frame and the bands' Hz."""
    return {
        "hop_seconds": recognizer.hop_samples / recognizer.sample_rate_hz,
        "frequencies_hz": recognizer.centers_hz(),
    }


def targets_figure(found: ExcerptFindings, recognizer: Recognizer) -> Figure:
    """Draw two excerpts and their dreams toward each instrument (the paper's Figure 2).

    Rows: log-mels, the network's outputs, differences from the original with their RMSE.
    """
    grid, codes, shown = found.grid, recognizer.instruments, examples(found.excerpts)
    places = [[i for i, item in enumerate(grid.items) if item.excerpt == e] for e in shown]
    originals = [DB_PER_NATURAL * grid.arrays["original"][of[0]] for of in places]
    dreams = [[DB_PER_NATURAL * grid.arrays["dream"][i] for i in of] for of in places]
    changes = [[one - o for one in row] for o, row in zip(originals, dreams, strict=True)]
    scales = SpectrogramScales(
        originals, list(chain(*dreams)), list(chain(*changes)),
        range_db=80.0, **_mel_axes(recognizer),
    )  # fmt: skip
    title = f"{found.steps} steps toward each instrument ({found.data})"
    figure = _figure(title, 4.4 * len(shown) + 0.4)
    for k, part in enumerate(figure.subfigures(len(shown), 1, squeeze=False)[:, 0]):
        excerpt = found.excerpts[shown[k]]
        part.suptitle(
            caption(excerpt.name), x=0.005, ha="left", weight="bold", fontsize=11, parse_math=False
        )
        axes = part.subplots(3, len(codes) + 1, height_ratios=(3, 1.3, 3))
        _draw_log_mels(axes[0], scales, [originals[k], *dreams[k]])
        _name_columns(axes[0], "original", codes, own=excerpt.labels[0])
        before = grid.arrays["before"][places[k][0]]
        _draw_outputs(axes[1], [before, *(grid.arrays["after"][i] for i in places[k])], codes)
        rmse_db = [float(np.sqrt(np.mean(change**2))) for change in changes[k]]
        _draw_differences(axes[2], scales, changes[k], rmse_db, "dream − original")
    return figure


def noise_figure(found: NoiseFindings, color: str, recognizer: Recognizer) -> Figure:
    """Draw noises and their dreams toward each instrument (the paper's Figure 3).

    A row a noise, a column a target; below them the mean of dream minus noise, with recurring bands
    outlined, and the mean of the network's outputs.
    """
    codes, dreamed = recognizer.instruments, found.found[color, "log_mel"]
    original, dream, before, after = (
        by_noise(dreamed.of(name), found.count) for name in ("original", "dream", "before", "after")
    )
    noises = DB_PER_NATURAL * original[:SHOWN_NOISES, 0]
    dreams = DB_PER_NATURAL * dream[:SHOWN_NOISES]
    changes = dreams - noises[:, None]
    means, rmse_db = changes.mean(axis=0), np.sqrt(np.mean(changes**2, axis=(2, 3))).mean(axis=0)
    scales = SpectrogramScales(
        list(noises), list(dreams), list(means), range_db=60.0, **_mel_axes(recognizer)
    )
    outlined = np.broadcast_to(found.bands[color][..., None], means.shape)
    rows = len(noises)
    title = f"{color} noise, {found.steps} steps toward each instrument"
    figure = _figure(title, 1.4 * rows + 2.8)
    axes = figure.subplots(rows + 2, len(codes) + 1, height_ratios=[3] * (rows + 1) + [1.6])
    for i in range(rows):
        _draw_log_mels(axes[i], scales, [noises[i], *dreams[i]])
        for target, ax in enumerate(axes[i, 1:]):
            scales.outline(ax, outlined[target], "white")
            ax.text(
                0.97, 0.96, f"{after[i, target, target]:.2f}", transform=ax.transAxes, ha="right",
                va="top", color="white", fontsize=8,
                bbox={"facecolor": "black", "alpha": 0.5, "pad": 1.5, "lw": 0},
            )  # fmt: skip
    _name_columns(axes[0], "noise", codes)
    note = "mean of dream − noise" + "\noutlined: recurring" * bool(outlined.any())
    note += "\n\nRMSE: mean of dreams"
    _draw_differences(axes[rows], scales, list(means), list(rmse_db), note)
    for ax, region in zip(axes[rows, 1:], outlined, strict=True):
        scales.outline(ax, region, "black")
    _draw_outputs(axes[-1], [before[:, 0].mean(axis=0), *after.mean(axis=0)], codes)
    return figure


def ways_figure(summary: pd.DataFrame) -> Figure:
    """Draw the measures of `WAY_PANELS` with their intervals, from a row for each way and kind."""
    ways = list(dict.fromkeys(summary["way"]))
    figure = _figure("", 0.62 * len(ways) + 1.6)
    axes = figure.subplots(1, len(WAY_PANELS), sharey=True)
    for ax, (measure, title) in zip(axes, WAY_PANELS.items(), strict=True):
        for kind, (name, color, marker, above) in KIND_MARKS.items():
            rows = rows_of(summary, kind=kind)
            value, low, high = (rows[measure + end] for end in ("", "_low", "_high"))
            ax.errorbar(
                value, [above - ways.index(way) for way in rows["way"]],
                xerr=[(value - low).clip(0), (high - value).clip(0)],
                fmt=marker, color=color, markersize=5, label=name,
            )  # fmt: skip
        if measure in ("survival", "masking_violation"):
            ax.set_xlim(-0.03, 1.03)
        ax.set_title(title, fontsize=10)
        ax.grid(axis="x", color="0.92")
        plain(ax)
    axes[0].set_yticks(-np.arange(len(ways)), [caption(way, length=40) for way in ways], fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def _figure(title: str, height_inches: float) -> Figure:
    figure = Figure(figsize=(16.0, height_inches), layout="constrained")
    figure.suptitle(caption(title, length=150), fontsize=12, parse_math=False)
    return figure


def _name_columns(axes: Sequence[Axes], first: str, codes: Sequence[str], own: str = "") -> None:
    """Write instruments above their columns, in two lines where they have two words."""
    axes[0].set_title(first, fontsize=10)
    for ax, code in zip(axes[1:], codes, strict=True):
        name = instruments.name(code).replace(" ", "\n")
        ax.set_title(f"{name} (own)" if code == own else name, fontsize=10)


def _draw_log_mels(axes: Sequence[Axes], scales: SpectrogramScales, row: Sequence[Array]) -> None:
    """Draw log-mels, the first with labels of its axes and the last with a color bar."""
    images = [scales.log_mel(ax, log_mel) for ax, log_mel in zip(axes, row, strict=True)]
    add_color_bar(images[-1], axes[-1], "dB re loudest")
    axes[0].tick_params(labelleft=True, labelbottom=True)
    axes[0].set_xlabel("time (s)", fontsize=9)
    axes[0].set_ylabel("frequency (Hz)", fontsize=9)


def _draw_differences(
    axes: Sequence[Axes],
    scales: SpectrogramScales,
    changes: Sequence[Array],
    rmse_db: Sequence[float],
    note: str,
) -> None:
    """Draw a row of differences with an RMSE each, and a note in place of the original's."""
    axes[0].axis("off")
    axes[0].text(1, 0.5, note, transform=axes[0].transAxes, ha="right", va="center", fontsize=9)
    images = [scales.difference(ax, change) for ax, change in zip(axes[1:], changes, strict=True)]
    for ax, rmse in zip(axes[1:], rmse_db, strict=True):
        ax.set_xlabel(f"RMSE {rmse:.1f} dB", fontsize=9)
    add_color_bar(images[-1], axes[-1], "difference (dB)")


def _draw_outputs(axes: Sequence[Axes], outputs: Sequence[Array], codes: Sequence[str]) -> None:
    """Draw a row of the network's outputs, each but the first with its target marked."""
    for ax, values, target in zip(axes, outputs, ("", *codes), strict=True):
        draw_bars(ax, values, codes, target, None)
        ax.tick_params(axis="x", labelrotation=90, labelsize=7, length=0)
        ax.tick_params(labelleft=ax is axes[0])
    axes[0].set_ylabel("probability", fontsize=9)
