"""Sonification: from a dreamed log-mel to a waveform.

A sonification is called with the dreamed and the original log-mel (items, n_mels, frames), the
original waveform (items, samples) and the front end, and returns the sound (items, samples).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from irdream.arguments import Natural
from irdream.audio.stft import (
    as_many_frames,
    inverse_stft,
    stft,
    taper_of,
    whole_hops,
    with_mel_gain,
)

__all__ = ["GriffinLim", "MelInversion", "StftGain", "invert_mel"]

_FRAMES_AT_ONCE = 256  # which stay in the processor's cache


@dataclass(kw_only=True, eq=False)
class StftGain:
    """The dream as a gain on the original's short-time spectrum, with its phase.

    The difference of the two log-mels is a gain for each mel band; each frequency bin gets the
    mean of the gains of the bands that cover it, in dB, weighed as the bands weigh it. Only what
    changed is changed; what the original lacks cannot be made louder than its noise floor.
    Overlapping frames share their gains through the inverse transform, so the log-mel of the
    result is near the dream's, not equal to it.
    """

    max_gain_db: float = 60.0  # the largest, up or down

    @torch.no_grad()
    def __call__(
        self, *, dream: Tensor, original: Tensor, waveform: Tensor, frontend: Any
    ) -> Tensor:
        """Return the waveform (items, samples) of dreams (items, n_mels, frames)."""
        most = self.max_gain_db * math.log(10.0) / 20.0
        return with_mel_gain(waveform, (dream - original).clamp(-most, most), frontend)


@dataclass(kw_only=True, eq=False)
class MelInversion:
    """The mel bands inverted to frequency bins, with the phase of the original.

    The fine structure of the original is lost, and an undreamed excerpt, too, comes back changed.
    """

    iterations: int = 100  # of the mel inversion

    @torch.no_grad()
    def __call__(
        self, *, dream: Tensor, original: Tensor, waveform: Tensor, frontend: Any
    ) -> Tensor:
        """Return the waveform (items, samples) of dreams (items, n_mels, frames)."""
        spectrum = stft(waveform, frontend)
        magnitude = _magnitudes(dream, frontend, self.iterations, spectrum.shape[-1])
        spectrum = torch.polar(magnitude, spectrum.angle())
        return inverse_stft(spectrum, frontend, samples=waveform.shape[-1])


@dataclass(kw_only=True, eq=False)
class GriffinLim:
    """A waveform for a log-mel alone: the mel bands inverted, and a phase that fits them.

    The phase comes from the fast Griffin-Lim algorithm (Perraudin, Balazs and Sondergaard 2013)
    of torchaudio, from zero phase. An undreamed excerpt, too, comes back changed by a decibel or
    two.
    """

    iterations: Natural = 64  # of Griffin-Lim
    mel_iterations: Natural = 100  # of the mel inversion
    momentum: float = 0.99  # of fast Griffin-Lim; 0 is the original algorithm

    @torch.no_grad()
    def __call__(
        self, *, dream: Tensor, original: Tensor, waveform: Tensor, frontend: Any
    ) -> Tensor:
        """Return the waveform (items, samples) of dreams (items, n_mels, frames)."""
        from torchaudio.functional import griffinlim

        samples = waveform.shape[-1]
        hops = whole_hops(samples, frontend)
        magnitudes = _magnitudes(dream, frontend, self.mel_iterations, 1 + hops)
        find = partial(
            griffinlim,
            window=taper_of(frontend, dream),
            n_fft=frontend.n_fft,
            hop_length=frontend.hop_samples,
            win_length=frontend.n_fft,
            power=1.0,
            n_iter=self.iterations,
            momentum=self.momentum,
            length=hops * frontend.hop_samples,
            rand_init=False,
        )
        # one by one: rounding, which a batch may change, grows with the iterations
        sound = torch.cat([find(item) for item in magnitudes.split(1)])
        return sound[..., :samples]


def invert_mel(mel: Tensor, mel_basis: Tensor, *, iterations: int) -> Tensor:
    """Return magnitudes (items, bins, frames) >= 0 whose mel bands are nearest to `mel`.

    They are found from the mel magnitudes m = B s, (items, n_mels, frames), with the basis B
    (n_mels, bins), by multiplicative updates (Lee and Seung 2001) from the least-squares start;
    many s have the same m.
    """
    tiny = 1e-10
    items, _, frames = mel.shape
    inverse = torch.linalg.pinv(mel_basis)
    # A bin is in two bands or so: dense products would take most of the time.
    to_bands, to_bins = mel_basis.to_sparse(), mel_basis.T.to_sparse()
    floor = (1e-4 * mel.mean(dim=(1, 2)) + tiny).repeat_interleave(frames)
    columns = mel.transpose(0, 1).flatten(1)  # (n_mels, items * frames)
    slices = columns.split(_FRAMES_AT_ONCE, dim=1), floor.split(_FRAMES_AT_ONCE)
    found = []
    for some, least in zip(*slices, strict=True):
        bins, wanted = torch.maximum(inverse @ some, least), torch.sparse.mm(to_bins, some)
        for _ in range(iterations):
            has = torch.sparse.mm(to_bins, torch.sparse.mm(to_bands, bins))
            bins = bins.mul_(wanted).div_(has.add_(tiny))
        found.append(bins)
    return torch.cat(found, dim=1).unflatten(1, (items, frames)).transpose(0, 1)


def _magnitudes(log_mel: Tensor, frontend: Any, iterations: int, frames: int) -> Tensor:
    """Return the bins' magnitudes (items, bins, frames) of log-mels, the last one repeated."""
    power = getattr(frontend, "power", 1)
    mel = ((power * log_mel).exp() - getattr(frontend, "floor", 0.0) ** power).clamp(min=0.0)
    bins = invert_mel(mel, frontend.mel_basis, iterations=iterations) ** (1 / power)
    return as_many_frames(bins, frames)
