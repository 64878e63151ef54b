"""Log-mels and their differences, drawn side by side on the common scales of one figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from irdream.reports.figures import draw_spectrogram, label_spectrogram

Array = NDArray[np.floating]

_TICKS_HZ = (300, 1000, 3000, 8000)
_HIGHEST, _LARGEST = 0.999, 0.99  # shares of the values within the scales


@dataclass(frozen=True, kw_only=True)
class SpectrogramScales:
    """Draws log-mels and their differences, all on the scales of one figure.

    Attributes:
        hop_seconds: time between frames.
        mel_hz: centers of the mel bands, (n_mels,).
        peak_db: the loudest point of the originals, which counts as 0 dB.
        low_db, high_db: the scale of the log-mels.
        limit_db: end of the scale of the differences.
    """

    hop_seconds: float
    mel_hz: Array
    peak_db: float
    low_db: float
    high_db: float
    limit_db: float

    @classmethod
    def of(
        cls,
        originals: Sequence[Array],
        dreams: Sequence[Array],
        differences: Sequence[Array],
        *,
        range_db: float,
        mel_frequencies_hz: ArrayLike,
        hop_seconds: float,
    ) -> SpectrogramScales:
        """Choose scales for these: a few bright points must not wash out the rest.

        Args:
            originals: log-mels in dB, (n_mels, frames); the loudest point of all is 0 dB.
            dreams: likewise.
            differences: in dB.
            range_db: what is shown below the loudest point of originals and dreams.
            mel_frequencies_hz: centers of the mel bands, (n_mels,), ascending.
            hop_seconds: time between frames.
        """
        peak = max(float(one.max()) for one in originals)
        loud = float(np.quantile(np.concatenate([one.ravel() for one in dreams]), _HIGHEST))
        high = max(0.0, loud - peak)
        changes = np.abs(np.concatenate([one.ravel() for one in differences]))
        return cls(
            hop_seconds=hop_seconds,
            mel_hz=np.asarray(mel_frequencies_hz, float),
            peak_db=peak,
            low_db=high - range_db,
            high_db=high,
            limit_db=max(float(np.quantile(changes, _LARGEST)), 0.1),
        )

    def log_mel(self, ax: Axes, values: Array) -> AxesImage:
        """Draw a log-mel in dB, with ticks and without their labels."""
        return self._draw(ax, values - self.peak_db, "magma", self.low_db, self.high_db)

    def difference(self, ax: Axes, values: Array) -> AxesImage:
        """Draw a difference in dB, likewise."""
        return self._draw(ax, values, "RdBu_r", -self.limit_db, self.limit_db)

    def _draw(self, ax: Axes, values: Array, colors: str, low: float, high: float) -> AxesImage:
        image = draw_spectrogram(
            ax, values, hop_seconds=self.hop_seconds, colors=colors, low=low, high=high
        )
        label_spectrogram(ax, self.mel_hz, ticks_hz=_TICKS_HZ)
        ax.set_xlabel("")
        ax.tick_params(labelleft=False, labelbottom=False)
        return image

    def outline(self, ax: Axes, region: NDArray[np.bool_], color: str) -> None:
        """Draw lines around the bins that are set, also along the edge of the plane."""
        if not region.any():
            return
        bands, frames = (np.arange(-1, size + 1) for size in region.shape)
        seconds, inside = (frames + 0.5) * self.hop_seconds, np.pad(region, 1).astype(float)
        limits = ax.axis()
        ax.contour(seconds, bands, inside, levels=[0.5], colors=color, linewidths=1.0)
        ax.axis(limits)
