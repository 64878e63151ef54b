"""What a view may be applied to: most need the bands and frames of a log-mel."""

from __future__ import annotations

from torch import Tensor

from irdream.errors import InputError


def need_spectrogram(transform: object, log_mel: Tensor) -> None:
    """Raise an InputError for what has no bands and frames."""
    if log_mel.ndim != 3:
        raise InputError(
            f"transform {type(transform).__name__} got a shape of {tuple(log_mel.shape)}; expected "
            "(items, n_mels, frames): for a network on raw sound use transform=gain or none"
        )
