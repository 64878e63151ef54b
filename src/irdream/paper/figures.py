"""The two figures of spectrograms in Cochran and Kim's paper: excerpts and noises, dreamed.

`targets_figure` is their Figure 2, an excerpt and its dreams toward each instrument with the
network's outputs below; `noise_figure` their Figure 3, noises dreamed toward each instrument.
What the paper draws on scales of their own stands here on one scale a figure, in dB relative to
the loudest point of all originals, and the differences on one symmetric scale: only so can two
panels be compared. Both are 2000 pixels wide as a PNG and take some seconds.

Source: A. Cochran and Y. Kim, "DeepDream applied to an instrument recognition CNN".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from irdream import instruments as names
from irdream.errors import InputError
from irdream.reports.dream_figures import SpectrogramScales
from irdream.reports.figures import add_color_bar, caption, draw_bars

Array = NDArray[np.floating]

WIDTH_INCHES = 16.0


def targets_figure(
    originals: Sequence[ArrayLike],
    dreams: Sequence[Sequence[ArrayLike]],
    *,
    row_names: Sequence[str],
    instruments: Sequence[str],
    probabilities_before: ArrayLike,
    probabilities: ArrayLike,
    mel_frequencies_hz: ArrayLike,
    hop_seconds: float,
    own: Sequence[int | None] = (),
    targets: Sequence[int] | None = None,
    title: str = "",
    range_db: float = 80.0,
) -> Figure:
    """Draw excerpts and their dreams toward several targets (the paper's Figure 2).

    For each excerpt three rows: the log-mels, the network's outputs, and the difference of each
    dream from the original with its RMSE. The original comes first, then a column a target.

    Args:
        originals: for each excerpt its log-mel in dB, (n_mels, frames).
        dreams: for each excerpt and target the same.
        row_names: of the excerpts.
        instruments: codes, the last axis of the probabilities.
        probabilities_before: of the originals, (excerpts, instruments).
        probabilities: of the dreams, (excerpts, targets, instruments).
        mel_frequencies_hz: centers of the mel bands, (n_mels,), ascending.
        hop_seconds: time between frames.
        own: for each excerpt which instrument it is; None: not said.
        targets: which instrument each column is; None: all in their order.
        title: of the figure.
        range_db: what is shown below the loudest point.

    Raises:
        InputError: when there is not one dream for each excerpt and target.
    """
    codes = [instruments[i] for i in (range(len(instruments)) if targets is None else targets)]
    before, after = np.asarray(probabilities_before), np.asarray(probabilities)
    counts = [len(row) for row in dreams]
    heard = (len(originals), len(codes), len(instruments))
    if counts != [len(codes)] * len(row_names) or after.shape != heard:
        raise InputError(
            f"{counts} dreams for rows {list(row_names)} and probabilities {after.shape}; expected "
            f"{len(codes)} dreams a row and probabilities {heard}"
        )
    first = [np.asarray(one, float) for one in originals]
    dreamed = [[np.asarray(one, float) for one in row] for row in dreams]
    changes = [[one - o for one in row] for o, row in zip(first, dreamed, strict=True)]
    planes = SpectrogramScales.of(
        first, list(chain(*dreamed)), list(chain(*changes)),
        range_db=range_db, mel_frequencies_hz=mel_frequencies_hz, hop_seconds=hop_seconds,
    )  # fmt: skip
    figure = _figure(title, height_inches=4.4 * len(first) + 0.4)
    for i, part in enumerate(figure.subfigures(len(first), 1, squeeze=False)[:, 0]):
        part.suptitle(
            caption(row_names[i]), x=0.005, ha="left", weight="bold", fontsize=11, parse_math=False
        )
        axes = part.subplots(3, len(codes) + 1, height_ratios=(3, 1.3, 3))
        bar = _draw_log_mels(axes[0], planes, [first[i], *dreamed[i]])
        add_color_bar(bar, axes[0, -1], "dB re loudest original")
        _label_axes(axes[0, 0])
        own_number = own[i] if own else None
        own_code = None if own_number is None else instruments[own_number]
        _write_heads(axes[0], ["original", *codes], own_code)
        _draw_outputs(axes[1], [before[i], *after[i]], instruments, ["", *codes])
        rmse_db = [float(np.sqrt(np.mean(change**2))) for change in changes[i]]
        _draw_differences(axes[2], planes, changes[i], rmse_db, "dream − original")
    return figure


def noise_figure(
    noises: ArrayLike,
    dreams: ArrayLike,
    *,
    regions: ArrayLike,
    probabilities: ArrayLike,
    mean_outputs: ArrayLike,
    instruments: Sequence[str],
    mel_frequencies_hz: ArrayLike,
    hop_seconds: float,
    outputs_before: ArrayLike | None = None,
    targets: Sequence[int] | None = None,
    title: str = "",
    range_db: float = 60.0,
) -> Figure:
    """Draw noises and their dreams toward several targets (the paper's Figure 3).

    A row a noise, a column a target; below them the mean over the noises of dream minus noise,
    and of the network's outputs. Recurring regions are outlined.

    Args:
        noises: log-mels in dB, (noises, n_mels, frames).
        dreams: the same of the dreams, (noises, targets, n_mels, frames).
        regions: where the differences recur, (targets, n_mels, frames), or with one frame for
            regions of the bands.
        probabilities: of each dream's target, (noises, targets).
        mean_outputs: mean over the dreams of all noises, (targets, instruments).
        instruments: codes, the last axis of the outputs.
        mel_frequencies_hz: centers of the mel bands, (n_mels,), ascending.
        hop_seconds: time between frames.
        outputs_before: mean over the undreamed noises, (instruments,).
        targets: which instrument each column is; None: all in their order.
        title: of the figure.
        range_db: what is shown below the loudest point.

    Raises:
        InputError: when the shapes do not belong together.
    """
    codes = [instruments[i] for i in (range(len(instruments)) if targets is None else targets)]
    first, dreamed = np.asarray(noises, float), np.asarray(dreams, float)
    reached, outputs = np.asarray(probabilities), np.asarray(mean_outputs)
    outlined = np.asarray(regions, bool)
    _check_noises(first, dreamed, reached, outputs, outlined, (len(codes), len(instruments)))
    outlined = np.broadcast_to(outlined, dreamed.shape[1:])
    changes = dreamed - first[:, None]
    means, rmse_db = changes.mean(axis=0), np.sqrt(np.mean(changes**2, axis=(2, 3))).mean(axis=0)
    planes = SpectrogramScales.of(
        list(first), list(dreamed), list(means),
        range_db=range_db, mel_frequencies_hz=mel_frequencies_hz, hop_seconds=hop_seconds,
    )  # fmt: skip
    rows = len(first)
    figure = _figure(title, height_inches=1.4 * rows + 2.8)
    axes = figure.subplots(rows + 2, len(codes) + 1, height_ratios=[3] * (rows + 1) + [1.6])
    for row, noise, toward, sure in zip(axes[:rows], first, dreamed, reached, strict=True):
        bar = _draw_log_mels(row, planes, [noise, *toward])
        _outline(row[1:], planes, outlined, "white")
        for ax, probability in zip(row[1:], sure, strict=True):
            _write_probability(ax, probability)
    add_color_bar(bar, list(axes[:rows, -1]), "dB re loudest noise")
    _label_axes(axes[rows - 1, 0])
    _write_heads(axes[0], ["noise", *codes], None)
    note = "mean of dream − noise" + "\noutlined: recurring" * bool(outlined.any())
    note += "\n\nRMSE: mean of dreams"
    _draw_differences(axes[rows], planes, list(means), list(rmse_db), note)
    _outline(axes[rows, 1:], planes, outlined, "black")
    _draw_outputs(axes[-1], [outputs_before, *outputs], instruments, ["", *codes])
    return figure


def _check_noises(
    noises: Array,
    dreams: Array,
    probabilities: Array,
    outputs: Array,
    regions: NDArray[np.bool_],
    counts: tuple[int, int],
) -> None:
    """Raise InputError unless the shapes belong together."""
    planes = (counts[0], *noises.shape[1:])
    expected = {
        "dreams": (dreams, [(len(noises), *planes)]),
        "probabilities": (probabilities, [(len(noises), counts[0])]),
        "mean_outputs": (outputs, [counts]),
        "regions": (regions, [planes, (*planes[:2], 1)]),
    }
    for name, (values, shapes) in expected.items():
        if values.shape not in shapes:
            raise InputError(
                f"{name} have shape {values.shape}; expected {' or '.join(map(str, shapes))} with "
                f"noises {noises.shape}"
            )


def _figure(title: str, *, height_inches: float) -> Figure:
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    if title:
        figure.suptitle(caption(title, length=150), fontsize=12, parse_math=False)
    return figure


def _write_heads(axes: Sequence[Axes], heads: Sequence[str], own: str | None) -> None:
    """Write instruments above their columns, in two lines where they have two words."""
    for ax, head in zip(axes, heads, strict=True):
        name = names.NAMES.get(head, head).replace(" ", "\n")
        ax.set_title(f"{name} (own)" if head == own else name, fontsize=10)


def _label_axes(ax: Axes) -> None:
    """Label the axes of one panel; the others have the same."""
    ax.tick_params(labelleft=True, labelbottom=True)
    ax.set_xlabel("time (s)", fontsize=9)
    ax.set_ylabel("frequency (Hz)", fontsize=9)


def _write_probability(ax: Axes, probability: float) -> None:
    """Write how probable the target is into the corner of a panel."""
    ax.text(
        0.97, 0.96, f"{probability:.2f}", transform=ax.transAxes, ha="right", va="top",
        color="white", fontsize=8, bbox={"facecolor": "black", "alpha": 0.5, "pad": 1.5, "lw": 0},
    )  # fmt: skip


def _draw_log_mels(
    axes: Sequence[Axes], planes: SpectrogramScales, values: Sequence[Array]
) -> AxesImage:
    """Draw a row of log-mels; return one, all having one scale."""
    return [planes.log_mel(ax, one) for ax, one in zip(axes, values, strict=True)][-1]


def _outline(
    axes: Sequence[Axes], planes: SpectrogramScales, regions: NDArray[np.bool_], color: str
) -> None:
    for ax, region in zip(axes, regions, strict=True):
        planes.outline(ax, region, color)


def _draw_differences(
    axes: Sequence[Axes],
    planes: SpectrogramScales,
    changes: Sequence[Array],
    rmse_db: Sequence[float],
    note: str,
) -> None:
    """Draw a row of differences with an RMSE each, and a note in place of the original's."""
    axes[0].axis("off")
    axes[0].text(1, 0.5, note, transform=axes[0].transAxes, ha="right", va="center", fontsize=9)
    images = [planes.difference(ax, one) for ax, one in zip(axes[1:], changes, strict=True)]
    for ax, rmse in zip(axes[1:], rmse_db, strict=True):
        ax.set_xlabel(f"RMSE {rmse:.1f} dB", fontsize=9)
    add_color_bar(images[-1], axes[-1], "difference (dB)")


def _draw_outputs(
    axes: Sequence[Axes],
    outputs: Sequence[ArrayLike | None],
    instruments: Sequence[str],
    marked: Sequence[str],
) -> None:
    """Draw a row of the network's outputs, each with its target marked."""
    for ax, values, target in zip(axes, outputs, marked, strict=True):
        if values is None:
            ax.axis("off")
            continue
        draw_bars(ax, np.asarray(values), instruments, target, None)
        ax.tick_params(axis="x", labelrotation=90, labelsize=7, length=0)
        ax.tick_params(labelleft=ax is axes[0])
    axes[0].set_ylabel("probability", fontsize=9)
