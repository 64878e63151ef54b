"""A dream's sound quality beside its original as a listening test might judge it: ViSQOL.

ViSQOL in audio mode compares two sounds in a gammatone spectrogram, patch by patch, and maps the
similarity to a mean opinion score by a support vector regression that was trained on listening
tests of music codecs: 1 is bad, 4.73 is the score of a sound beside itself. It brings both to one
loudness, so that a louder dream is no worse. It was made for codecs, not for dreams: a score
that falls says that a change can be heard, not which.

It comes as an optional package, `pip install 'irdream[visqol]'`, a port of Google's ViSQOL 3.3.3
to Python. Three seconds take about half a second on one core.

Sources: M. Chinen et al., "ViSQOL v3: an open source production ready objective speech and audio
metric", QoMEX 2020; the package visqol-python.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irdream.audio import resample
from irdream.errors import InputError

RATE_HZ = 48_000  # that of audio mode
LEAST_SECONDS = 0.96  # the first of its patches ends there


def is_available() -> bool:
    """Say whether the package visqol-python can be imported."""
    try:
        return hasattr(importlib.import_module("visqol"), "VisqolApi")
    except ImportError:
        return False


def visqol(original: Tensor, dream: Tensor, *, sample_rate_hz: int) -> Tensor:
    """Return the MOS-LQO of each dream beside its original, 1 to 4.73, (items,).

    The two are taken to be in step; of the whole sounds none is shifted, of the patches each by
    a little. NaN where one of them is digital silence, whose loudness cannot be matched.

    Args:
        original: (items, samples).
        dream: the same shape.
        sample_rate_hz: of the sounds; they are resampled to 48 kHz.

    Raises:
        InputError: when the package is missing or the sounds are shorter than 0.96 s.
    """
    if not is_available():
        raise InputError("ViSQOL is not installed; run pip install 'irdream[visqol]'")
    least = math.ceil(LEAST_SECONDS * sample_rate_hz)
    if original.shape[1] < least:
        samples = f"a waveform of {original.shape[1]} samples"
        raise InputError(f"{samples} is too short for ViSQOL; expected {least} or more")
    api: Any = importlib.import_module("visqol").VisqolApi()
    api.create(mode="audio", disable_global_alignment=True)
    pairs = zip(
        _at_48_khz(original, sample_rate_hz), _at_48_khz(dream, sample_rate_hz), strict=True
    )
    scores = [_score(api, *pair) for pair in pairs]
    return torch.tensor(scores, dtype=original.dtype, device=original.device)


def _at_48_khz(waveform: Tensor, sample_rate_hz: int) -> NDArray[np.float64]:
    resampled = resample(waveform.detach().cpu().double(), from_hz=sample_rate_hz, to_hz=RATE_HZ)
    return resampled.numpy()


def _score(api: Any, original: NDArray[np.float64], dream: NDArray[np.float64]) -> float:
    if not (original.any() and dream.any()):
        return float("nan")
    return float(api.measure_from_arrays(original, dream, RATE_HZ).moslqo)
