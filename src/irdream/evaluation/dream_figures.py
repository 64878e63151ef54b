"""Figures of dreams: original, dream and difference, with what the recognizer hears below.

Original and dream share one scale, in dB relative to the loudest point of the original; the
difference has a symmetric one. The outputs are drawn where they are given: below the original
those before, below the dream those after, below the difference their change.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from irdream.evaluation.dream_sheet import Outputs, Series, Sheet
from irdream.evaluation.figures import any_script, write_png


class DreamFigures:
    """Writes the figures of a run: the first takes 0.4 s, each other 0.06 s.

    Or 0.1 s, where it has another target or length than the one before. No figure depends on
    those before it. Not to be shared between threads.

    Args:
        series: what the figures have in common.
    """

    def __init__(self, series: Series) -> None:
        self.series = series
        self._sheets: dict[bool, Sheet] = {}

    def write(
        self,
        path: str | Path,
        original_db: ArrayLike,
        dream_db: ArrayLike,
        *,
        title: str = "",
        outputs: Outputs | None = None,
    ) -> None:
        """Write one figure as PNG, whole or not at all.

        Args:
            path: of the file.
            original_db: log-mel spectrogram in dB (20 log10 of the magnitude), (n_mels, frames).
            dream_db: the same of the dream.
            title: of the whole figure.
            outputs: what the recognizer hears in it.

        Raises:
            InputError: when there is not one value for each mel band or instrument.
            OSError: from the system (no such folder, no permission, full disk).
        """
        has_bars = outputs is not None
        if has_bars not in self._sheets:
            self._sheets[has_bars] = Sheet(self.series, has_bars=has_bars)
        sheet = self._sheets[has_bars]
        sheet.show(original_db, dream_db, title, outputs)
        with any_script():
            sheet.draw()
        write_png(sheet.canvas, path)


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
    """Return a single figure, to be shown or changed.

    The arguments are those of `Series` and of `DreamFigures.write`; the probabilities those of
    `Outputs`, drawn when those before and after are given.
    """
    outputs = None
    if probabilities_before is not None and probabilities_after is not None:
        outputs = Outputs(
            before=probabilities_before,
            after=probabilities_after,
            on_wav=probabilities_wav,
            target=target,
        )
    series = Series(
        hop_seconds=hop_seconds,
        mel_frequencies_hz=mel_frequencies_hz,
        labels=labels,
        instruments=instruments,
        confidence=confidence,
        range_db=range_db,
    )
    sheet = Sheet(series, has_bars=outputs is not None)
    sheet.show(original_db, dream_db, title, outputs)
    return sheet.figure
