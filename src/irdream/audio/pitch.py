"""The pitch of a sound, frame by frame, by its autocorrelation.

Boersma's (1993) method: of the autocorrelation of the tapered frame, divided by that of the taper,
a local maximum is a candidate for the period and its height the strength of the voicing. Voiced is
a frame whose highest candidate exceeds 0.45, and more where the frame's peak is below 4 % of the
sound's, as much as 1 at 3 %, which counts as silence. Frames are three periods of the lowest pitch,
with a Hann taper.

The period is the shortest one that has 0.9 of the greatest strength (McLeod and Wyvill 2005), since
multiples of a period are as strong as it is.

Simplified: each frame is judged for itself, without the path through the frames on which changes
of voicing and octave cost something; the peak of the sound is not freed from its mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from irdream.errors import InputError

PITCH_HZ = (60.0, 1600.0)  # from a cello's low strings to a flute's high notes
HOP_SECONDS = 0.02
PERIODS = 3  # of the lowest pitch in one frame
VOICING_THRESHOLD, SILENCE_THRESHOLD = 0.45, 0.03
NEAR_BEST = 0.9  # of the greatest strength
_AT_ONCE = 256  # frames
_FINER = 4  # steps of lag for each sample, in the autocorrelation


def pitch_hz(
    waveform: Tensor,
    *,
    sample_rate_hz: float,
    range_hz: tuple[float, float] = PITCH_HZ,
    hop_seconds: float = HOP_SECONDS,
) -> Tensor:
    """Return the pitch of waveforms (items, samples) in Hz, (items, frames); NaN where unvoiced.

    `range_hz` is the lowest and the highest pitch. Raises InputError when the sounds are shorter
    than a frame.
    """
    settings = sample_rate_hz, range_hz, hop_seconds
    found = [torch.cat([*_pitches(one, *settings)]) for one in waveform.double()]
    return torch.stack(found).to(waveform.dtype)


def _pitches(
    waveform: Tensor, rate_hz: float, range_hz: tuple[float, float], hop_seconds: float
) -> Iterator[Tensor]:
    """Yield the pitch of some frames after the other, (frames,)."""
    for strength, demanded, first in _strengths(waveform, rate_hz, range_hz, hop_seconds):
        middle = strength[:, 1:-1]
        is_peak = (middle > strength[:, :-2]) & (middle >= strength[:, 2:])
        peaks = middle.masked_fill(~is_peak, 0.0)
        best = peaks.amax(dim=1)
        place = (peaks >= NEAR_BEST * best[:, None]).to(torch.uint8).argmax(dim=1)
        around = place[:, None] + torch.arange(3, device=place.device)
        left, middle, right = strength.gather(1, around).T
        bend = (left - 2 * middle + right).clamp(max=-1e-12)  # of a parabola through the three
        lag = first + place + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
        yield (_FINER * rate_hz / lag).masked_fill(~(best > demanded), math.nan)


def _strengths(
    waveform: Tensor, rate_hz: float, range_hz: tuple[float, float], hop_seconds: float
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield strengths (frames, lags), the threshold of each frame (frames,), and the second lag.

    The transforms of all frames at once would need gigabytes; so there are some after the other.
    Lags are quarters of a sample, from one below the shortest period to one above the longest.
    """
    length = round(PERIODS * rate_hz / range_hz[0])
    if len(waveform) < length:
        raise InputError(
            f"a waveform of {len(waveform)} samples is too short; expected {length} or more"
        )
    peak = waveform.abs().max()
    taper = torch.hann_window(length, dtype=waveform.dtype, device=waveform.device)
    one_period = slice(length // 3, length - length // 3)  # the middle one; of the lowest pitch
    two_periods = slice(length // 6, length - length // 6)
    shortest, longest = (_FINER * rate_hz / hz for hz in reversed(range_hz))
    first = math.ceil(shortest)
    lags = slice(first - 1, math.floor(longest) + 2)
    of_taper = _autocorrelation(taper[None])[:, lags]
    for frames in waveform.unfold(0, length, round(hop_seconds * rate_hz)).split(_AT_ONCE):
        frames = frames - frames[:, two_periods].mean(dim=1, keepdim=True)
        # NaN in silence, which is unvoiced then.
        loudness = frames[:, one_period].abs().amax(dim=1) / peak
        demanded = VOICING_THRESHOLD + (
            2.0 - loudness * (1.0 + VOICING_THRESHOLD) / SILENCE_THRESHOLD
        ).clamp(min=0.0)
        yield _autocorrelation(frames * taper)[:, lags] / of_taper, demanded, first


def _autocorrelation(frames: Tensor) -> Tensor:
    """Return (frames, lags), 1 at lag 0, in steps of a quarter sample, of (frames, samples)."""
    n_fft = 2 ** math.ceil(math.log2(2 * frames.shape[1]))  # room enough that no lag wraps
    spectrum = torch.fft.rfft(frames, n_fft)
    power = spectrum.real.square() + spectrum.imag.square()
    # A longer transform back interpolates exactly, as the spectrum ends where it did.
    correlation = torch.fft.irfft(power, _FINER * n_fft)
    return correlation / correlation[:, :1]
