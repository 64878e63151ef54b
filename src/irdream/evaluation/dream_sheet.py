"""One figure of a dream whose contents can be changed, and drawn anew in an eighth of its time.

Its layout is fixed in pixels, with room for the longest labels: what is drawn moves nothing. So
what is the same in all figures (axes, frequencies, labels) is drawn once and kept as pixels, as
animations do it. Each figure puts them back and draws the rest on top.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray

from irdream.errors import InputError
from irdream.evaluation.figures import (
    DPI,
    Bars,
    Scale,
    caption,
    draw_plane,
    label_spectrogram,
    show_plane,
)

Array = NDArray[np.floating]

# The layout, in pixels from the left and from the bottom.
_WIDTH, _WITH_BARS, _ALONE = 1375, 625, 390  # of the figure; its heights
_PANELS, _PANEL = (84, 462, 940), 334  # where they begin; how wide they are
_SCALES, _SCALE, _SCALE_LABELS = (804, 1284), 14, (72, 80)  # and where their labels are
_SPECTROGRAMS = {_WITH_BARS: (268, 300), _ALONE: (52, 281)}  # bottom and height
_BARS = (32, 166)
_DIVIDE = 218  # between what belongs to the spectrograms and what belongs to the bars


@dataclass(frozen=True, kw_only=True)
class Series:
    """What figures have in common.

    Attributes:
        hop_seconds: time between frames.
        mel_frequencies_hz: centers of the mel bands, (n_mels,), ascending.
        labels: of the first two panels, such as ("noise", "dream").
        instruments: codes, the axis of the outputs.
        confidence: probability that counts as success; drawn as a line.
        range_db: what is shown below the loudest point.
    """

    hop_seconds: float
    mel_frequencies_hz: ArrayLike
    labels: tuple[str, str] = ("original", "dream")
    instruments: Sequence[str] = ()
    confidence: float | None = None
    range_db: float = 80.0


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What the recognizer hears in one dream.

    Attributes:
        before: probabilities of the original, (instruments,), 0..1.
        after: of the dream as a spectrogram.
        on_wav: of the dream as written to a sound file; drawn as diamonds.
        target: code of the target, drawn in another color.
    """

    before: ArrayLike
    after: ArrayLike
    on_wav: ArrayLike | None = None
    target: str = ""


class Sheet:
    """One figure that can be given other contents: its artists stay, and so does its layout."""

    def __init__(self, series: Series, *, has_bars: bool) -> None:
        self.series, self.mel_hz = series, np.asarray(series.mel_frequencies_hz, float)
        height = _WITH_BARS if has_bars else _ALONE
        self.figure = Figure(figsize=(_WIDTH / DPI, height / DPI), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        self.title = self.figure.suptitle("", y=1 - 6 / height, fontsize=11, parse_math=False)
        self.panels = [self._axes(left, _PANEL, *_SPECTROGRAMS[height]) for left in _PANELS]
        self.heard = None
        if has_bars:
            self.heard = _Heard([self._axes(left, _PANEL, *_BARS) for left in _PANELS], series)
        axes = [self._axes(left, _SCALE, *_SPECTROGRAMS[height]) for left in _SCALES]
        level = f"dB re loudest of {caption(series.labels[0], length=20)}"
        self.level = Scale(axes[0], "magma", level, label_pixels=_SCALE_LABELS[0])
        change = "difference (dB)"
        self.change = Scale(axes[1], "RdBu_r", change, label_pixels=_SCALE_LABELS[1])
        self._draw_panels()
        above = Bbox.from_extents(0, _DIVIDE if has_bars else 0, _WIDTH, height)
        self.times = _Kept([ax.xaxis for ax in self.panels], above)
        self.bare = None

    def _axes(self, left: int, width: int, bottom: int, height: int) -> Axes:
        x, y = self.figure.bbox.size
        return self.figure.add_axes((left / x, bottom / y, width / x, height / y))

    def _draw_panels(self) -> None:
        first, second = self.series.labels
        heads = (first, second, "")
        nothing = np.zeros((len(self.mel_hz), 1))
        self.images = []
        for ax, head, colors in zip(self.panels, heads, ("magma", "magma", "RdBu_r"), strict=True):
            image = draw_plane(ax, nothing, hop_seconds=1.0, colors=colors, low=0.0, high=1.0)
            self.images.append(image)
            label_spectrogram(ax, self.mel_hz)
            ax.tick_params(labelleft=ax is self.panels[0])
            ax.set_title(caption(head, length=60), fontsize=10, y=1.0, parse_math=False)
        self.panels[0].set_ylabel("frequency (Hz)", fontsize=9)

    def show(
        self, original_db: ArrayLike, dream_db: ArrayLike, title: str, outputs: Outputs | None
    ) -> None:
        """Give the artists other contents."""
        original, dream = np.asarray(original_db, float), np.asarray(dream_db, float)
        if len(original) != len(self.mel_hz):
            raise InputError(
                f"a spectrogram of {len(original)} mel bands; expected {len(self.mel_hz)}, one "
                "for each of mel_frequencies_hz"
            )
        peak, difference = float(original.max()), dream - original
        self._show_levels(original - peak, dream - peak)
        self._show_difference(difference)
        rmse_db, (first, second) = float(np.sqrt(np.mean(difference**2))), self.series.labels
        head = f"{second} − {first}: RMSE {rmse_db:.2f} dB"
        self.panels[2].title.set_text(caption(head, length=60))
        self.title.set_text(caption(title))
        if self.heard is not None and outputs is not None:
            self.heard.show(outputs)

    def _show_levels(self, original: Array, dream: Array) -> None:
        high = max(0.0, float(dream.max()))
        low = high - self.series.range_db
        for image, values in zip(self.images[:2], (original, dream), strict=True):
            show_plane(image, values, hop_seconds=self.series.hop_seconds, low=low, high=high)
        self.level.show(low, high, below=min(original.min(), dream.min()) < low, above=False)

    def _show_difference(self, difference: Array) -> None:
        size = np.abs(difference)
        # A few outliers must not wash out the rest; the arrows say that they exist.
        limit = max(float(np.quantile(size, 0.998)), 0.1)
        beyond = bool(size.max() > limit)
        show_plane(
            self.images[2], difference,
            hop_seconds=self.series.hop_seconds, low=-limit, high=limit,
        )  # fmt: skip
        self.change.show(-limit, limit, below=beyond, above=beyond)

    def draw(self) -> None:
        """Draw the contents on the canvas, over what is kept of earlier ones.

        The same pixels as `canvas.draw()` gives for a figure that was drawn in no other way.
        """
        moving, renderer = self._moving(), self.canvas.get_renderer()
        kept: list[tuple[_Kept, Hashable]] = [(self.times, self.panels[0].get_xlim())]
        if self.heard is not None:
            kept.append((self.heard.names, self.heard.key))
        if self.bare is None:
            for artist in [*moving, *(artist for one, _ in kept for artist in one.artists)]:
                artist.set_animated(True)  # the canvas leaves them out
            self.canvas.draw()
            self.bare = self.canvas.copy_from_bbox(self.figure.bbox)
        self.canvas.restore_region(self.bare)
        for one, key in kept:
            one.put(self.canvas, key)
        for artist in moving:
            artist.draw(renderer)

    def _moving(self) -> list[Artist]:
        """Return the artists that differ in every figure, in the order of drawing."""
        spines = [spine for ax in self.panels for spine in ax.spines.values()]
        heard = [] if self.heard is None else self.heard.moving()
        scales = [*self.level.moving(), *self.change.moving()]
        return [*self.images, *spines, *scales, *heard, self.panels[2].title, self.title]


class _Heard:
    """The row of bars: outputs before and after, and their change."""

    def __init__(self, axes: Sequence[Axes], series: Series) -> None:
        self.axes = axes
        self.bars = [
            Bars(ax, series.instruments, is_signed=is_signed, confidence=confidence)
            for ax, is_signed, confidence in zip(
                axes, (False, False, True), (series.confidence, series.confidence, None),
                strict=True,
            )
        ]  # fmt: skip
        axes[0].set_ylabel("probability", fontsize=9)
        axes[2].set_ylabel("change", fontsize=9)
        self.count = len(series.instruments)
        (self.on_wav,) = axes[1].plot(
            np.arange(self.count), np.zeros(self.count), "D", color="white",
            markeredgecolor="black", markersize=4.5, label="of the written WAV", clip_on=False,
        )  # fmt: skip
        self.legend = axes[1].legend(
            fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1),
            borderpad=0, borderaxespad=0.3, handletextpad=0.2,
        )  # fmt: skip
        below = Bbox.from_extents(0, 0, _WIDTH, _DIVIDE)
        self.names = _Kept([*(ax.xaxis for ax in axes), self.legend], below)
        self.key: Hashable = None

    def show(self, outputs: Outputs) -> None:
        """Give bars, diamonds and names other contents."""
        before, after = np.asarray(outputs.before), np.asarray(outputs.after)
        has_wav = outputs.on_wav is not None
        on_wav = np.asarray(outputs.on_wav if has_wav else after)
        sizes = {len(before), len(after), len(on_wav)}
        if sizes != {self.count}:
            raise InputError(
                f"outputs of {sorted(sizes)} instruments; expected {self.count} in each, one for "
                "each of the series"
            )
        for bars, values in zip(self.bars, (before, after, after - before), strict=True):
            bars.show(values, outputs.target)
        self.on_wav.set_ydata(on_wav)
        self.on_wav.set_visible(has_wav)
        self.legend.set_visible(has_wav)
        self.key = (outputs.target, has_wav)

    def moving(self) -> list[Artist]:
        """Return what differs in every figure, in the order of drawing."""
        return [
            artist
            for ax in self.axes
            for artist in (*ax.patches, *ax.lines, *ax.spines.values())
            if artist.zorder > 0
        ]


@dataclass
class _Kept:
    """Artists that are the same in many figures, and the pixels of their part of the figure."""

    artists: Sequence[Artist]
    part: Bbox
    key: Hashable = None
    pixels: object = None

    def put(self, canvas: FigureCanvasAgg, key: Hashable) -> None:
        """Put them on a canvas that has nothing in this part but what never changes.

        Args:
            canvas: to draw on.
            key: the same as last time when they look the same.
        """
        if self.pixels is not None and key == self.key:
            canvas.restore_region(self.pixels)
            return
        for artist in self.artists:
            artist.draw(canvas.get_renderer())
        self.key, self.pixels = key, canvas.copy_from_bbox(self.part)
