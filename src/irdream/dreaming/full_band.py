"""A dream at its source's sample rate and in its channels.

A network hears the mean of the channels, up to half its sample rate. What a dream does there is
done to each channel; above it, the channels stay as they are: a gain of 1, but for the level that
keeps the dream's peak. The low-pass filter of the resampling crossfades between the two in the
highest tenth of the network's band.

Nothing says what a dream would do there, so its gain is not continued upward.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from irdream.audio import load_channels, resample
from irdream.dreaming.batch import Originals
from irdream.dreaming.parametrizations import Parametrization
from irdream.recognizer import Recognizer


@torch.no_grad()
def full_band(
    path: Path,
    recognizer: Recognizer,
    parametrization: Parametrization,
    original: Tensor,
    signal: Tensor,
    dream: Tensor,
) -> tuple[Tensor, Tensor, int] | None:
    """Return original and dream (channels, samples), and their sample rate.

    The mean of their channels at the recognizer's rate is what it was given. None where the file is
    mono and has no higher rate.

    Args:
        path: of the file that the original is the beginning of.
        recognizer: that dreamed.
        parametrization: of the dream.
        original: (samples,), at the recognizer's rate.
        signal: of the dream, in the parametrization's own shape.
        dream: (samples,).

    Raises:
        InputError: when the file cannot be read.
    """
    sound, rate_hz = load_channels(path)
    low_hz, samples = recognizer.sample_rate_hz, len(original)
    if len(sound) == 1 and rate_hz <= low_hz:
        return None
    if rate_hz < low_hz:
        sound, rate_hz = resample(sound, from_hz=rate_hz, to_hz=low_hz), low_hz
    sound = sound[:, : round(samples / low_hz * rate_hz)]
    low = resample(sound, from_hz=rate_hz, to_hz=low_hz)[:, :samples]
    mean = low.mean(dim=0)
    level = (original @ mean) / mean.square().sum()  # the original's peak is 1
    sound, low, mean = sound * level, low * level, mean * level
    item = original[None].to(recognizer.device)
    originals = Originals(
        log_mel=recognizer.log_mel(item), sound=item, keys=torch.zeros(1, dtype=torch.long)
    )
    start = parametrization.start(recognizer, originals)
    side = (low - mean).to(item)
    changed, level = parametrization.beside(recognizer, start, signal[None].to(item), side)
    level = level.cpu()
    change = dream + changed.cpu() - level * low
    change = resample(change, from_hz=low_hz, to_hz=rate_hz)[:, : sound.shape[1]]
    return sound, level * sound + change, rate_hz
