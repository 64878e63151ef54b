"""What a plane of frequency and time is made of: its frequencies, its magnitudes, its limits.

A plane is a log-mel, or a gain on the original's spectrum: on the bins of the transform, or on
the mel bands. Both are in natural log of the magnitude, so a change of either by c multiplies
the magnitude that the original has there by e^c; what a constraint on planes needs to know is
that magnitude.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from irdream.audio.masking import bins_hz
from irdream.audio.stft import stft
from irdream.dreaming.parametrizations.base import Origin
from irdream.errors import InputError
from irdream.recognizer import Recognizer

LEAST_MAGNITUDE = 1e-12  # so that the logarithm of digital silence is finite


def is_gain(origin: Origin) -> bool:
    """Say whether the signal is a gain: on another grid than the log-mel, or 0 everywhere."""
    signal, log_mel = origin["signal"], origin["log_mel"]
    return signal.shape[1:] != log_mel.shape[1:] or not bool(signal.any())


def log_magnitude(recognizer: Recognizer, origin: Origin) -> Tensor:
    """Return the original's magnitude where the plane is, natural log, the plane's shape.

    It is the log-mel; for a gain on bins origin["spectrum"] (items, bins, frames), which is
    computed where the parametrization brings none.
    """
    frames = origin["signal"].shape[-1]
    if not is_gain(origin):
        return origin["signal"]
    if not on_bins(recognizer, origin):
        return as_many_frames(origin["log_mel"], frames)
    spectrum = origin.get("spectrum")
    if spectrum is None:
        spectrum = stft(origin["waveform"], recognizer.frontend)
    return as_many_frames(spectrum.abs().clamp(min=LEAST_MAGNITUDE).log(), frames)


def on_bins(recognizer: Recognizer, origin: Origin) -> bool:
    """Say whether the rows of the plane are bins of the transform, rather than mel bands."""
    return is_gain(origin) and origin["signal"].shape[1] == mel_basis(recognizer).shape[1]


def row_frequencies_hz(recognizer: Recognizer, origin: Origin) -> Tensor:
    """Return the frequency of each row, (rows,): a bin's, or a mel band's center of gravity."""
    basis = mel_basis(recognizer)
    hz = bins_hz(basis.shape[1], recognizer.sample_rate_hz, basis)
    if on_bins(recognizer, origin):
        return hz
    return torch.mv(basis, hz) / basis.sum(dim=1)


def mel_basis(recognizer: Recognizer) -> Tensor:
    """Return the front end's weights, (n_mels, bins).

    Raises:
        InputError: when the front end has none.
    """
    basis = getattr(recognizer.frontend, "mel_basis", None)
    if basis is None:
        raise InputError(
            f"{type(recognizer.frontend).__name__} has no mel_basis, which this constraint needs; "
            "expected a front end such as HanLogMel()"
        )
    return cast(Tensor, basis)


def as_many_frames(plane: Tensor, frames: int) -> Tensor:
    """Cut the last frames of (items, rows, frames) away, or repeat the last one."""
    missing = max(0, frames - plane.shape[-1])
    return torch.cat([plane[..., :frames], plane[..., -1:].expand(-1, -1, missing)], dim=-1)


def limited(signal: Tensor, least: Tensor | float, most: Tensor | float) -> Tensor:
    """Return the signal between two limits; what lies outside goes a few roundings inside.

    A plain clamp leaves a value at its limit. Kept there as a difference to the original and
    added up again, it can come out one rounding beyond the limit, where a clamp has no
    gradient: the ascent could never move it again.
    """
    room = 64 * torch.finfo(signal.dtype).eps
    inside = (signal >= least) & (signal <= most)
    return torch.where(inside, signal, signal.clamp(least + room, most - room))  # type: ignore[arg-type]
