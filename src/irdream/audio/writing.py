"""Sound files that are written: 16-bit WAVs, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from irdream.errors import InputError
from irdream.files import replacing


def write_wav(path: str | Path, waveform: Tensor, *, sample_rate_hz: int) -> None:
    """Write (samples,) as a mono 16-bit PCM WAV, whole or not at all.

    Full scale is 1: a value x becomes round(32767 x).

    Raises:
        InputError: when the waveform is not (samples,), not finite, or exceeds full scale.
        OSError: from the system (full disk, no permission); nothing is left behind.
    """
    if waveform.ndim != 1:
        raise InputError(
            f"cannot write {str(path)!r}: shape {tuple(waveform.shape)}, not (samples,)"
        )
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    if not np.isfinite(peak):
        raise InputError(f"cannot write {str(path)!r}: the waveform has NaN or infinite values")
    if peak > 1:
        problem = f"the waveform's peak is {peak:.4g}, above full scale 1"
        raise InputError(f"cannot write {str(path)!r}: {problem}; scale it down first")
    pcm = (waveform.detach().cpu().double() * 32767).round().to(torch.int16).numpy()
    # Encoded in memory: libsndfile reports a full disk as no OSError.
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, sample_rate_hz, format="WAV", subtype="PCM_16")
    with replacing(path) as file:
        file.write(encoded.getbuffer())
