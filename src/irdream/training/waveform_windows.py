"""Waveforms of excerpts, packed so that windows of them can be cut as fast as log-mels.

A row of the file is a hop of samples, so that row i begins where frame i of the log-mel is
centered, and the file is one of `datasets.cache.LogMels`: mapped, written once, found again.
IRMAS takes 1.8 GB of disk and none of memory. A window is cut with some context on both sides, so
that its frames are those of the whole excerpt; beyond the excerpt there is silence.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from irdream.datasets.base import Excerpts
from irdream.datasets.cache import LogMels, log_mels
from irdream.recognizer import Recognizer
from irdream.training.waveform import WaveformAugmentation

SPARE = 1.07  # a semitone faster takes 1.06 of the samples


class Waveforms:
    """Windows of waveforms, (batch, samples), by excerpt and frame.

    Args:
        packed: hops of samples, see above.
        context: frames before and after each window.
    """

    def __init__(self, packed: LogMels, context: int) -> None:
        self.packed, self.context = packed, context
        self.frames = packed.frames

    def windows(
        self, excerpt_indices: np.ndarray, start_frames: np.ndarray, window_frames: int
    ) -> Tensor:
        """Return (batch, (window_frames + 2 context) hops)."""
        places = np.arange(-self.context, window_frames + self.context)
        hops = np.asarray(start_frames)[:, None] + places
        last = self.frames[excerpt_indices][:, None] - 1
        rows = self.packed.offsets[excerpt_indices][:, None] + np.clip(hops, 0, last)
        cut = self.packed.rows.index_select(0, torch.from_numpy(rows.flatten()))
        cut = cut.view(*hops.shape, -1)
        cut[torch.from_numpy((hops < 0) | (hops > last))] = 0.0
        return cut.flatten(1)


class AugmentedWindows:
    """Waveforms with context and labels -> log-mel windows and labels, for the epoch loop.

    Args:
        augmentation: changes the waveforms.
        recognizer: whose front end hears them.
        context: frames before and after each window.
    """

    def __init__(
        self, augmentation: WaveformAugmentation, recognizer: Recognizer, context: int
    ) -> None:
        self.augmentation, self.recognizer, self.context = augmentation, recognizer, context

    @torch.no_grad()
    def __call__(
        self, waveform: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return windows (batch, n_mels, window_frames) and the labels of what is in them."""
        changed, labels = self.augmentation(waveform, labels, generator)
        first = self.context
        log_mel = self.recognizer.log_mel(changed)
        windows = log_mel[:, :, first : first + self.recognizer.window_frames].contiguous()
        return self.augmentation.masked(windows, generator), labels


def on_waveforms(
    augmentation: WaveformAugmentation,
    excerpts: Excerpts,
    recognizer: Recognizer,
    cache_dir: str | Path | None,
) -> tuple[Waveforms, AugmentedWindows]:
    """Return what windows are cut from, and what makes log-mels of them."""
    hop = recognizer.hop_samples

    def hops(waveform: Tensor) -> Tensor:
        count = waveform.shape[-1] // hop
        return waveform[..., : count * hop].unflatten(-1, (count, hop)).transpose(-1, -2)

    packed = log_mels(excerpts, hops, cache_dir=cache_dir)
    context = context_frames(recognizer)
    return Waveforms(packed, context), AugmentedWindows(augmentation, recognizer, context)


def context_frames(recognizer: Recognizer) -> int:
    """Return how many frames a window needs on each side: for the transform, and for speed."""
    n_fft = int(getattr(recognizer.frontend, "n_fft", 2 * recognizer.hop_samples))
    transform = math.ceil(n_fft / 2 / recognizer.hop_samples)
    spare = (SPARE - 1) * (recognizer.window_frames + 2 * transform) / 2
    return transform + math.ceil(spare)
