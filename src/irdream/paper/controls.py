"""The control of a dream: a random change that is as large as the dream's.

Whatever a dream is said to do, its size alone may do. So each dream is held against Gaussian
noise in what was dreamed (the log-mel, the gain on the spectrum, the waveform), at the scale at
which the RMSE between the log-mels, in dB, is the dream's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from irdream.audio.stft import inverse_stft, stft
from irdream.dreaming.parametrizations import Parametrization, StftGain
from irdream.dreaming.parametrizations.sound import QUIETEST_RMS
from irdream.dreaming.random_streams import item_keys, normal, substream
from irdream.measures.dreams import rmse_db
from irdream.recognizer import Recognizer

_CONTROL = 2  # substream of an item; a dream uses 0 and 1
_SEARCH_STEPS = 14  # of bisection: to a percent
_LARGEST_SCALE, _OCTAVES = 8.0, 30  # clean sounds have bands at the floor: -150 dB may be heard


def random_change(
    recognizer: Recognizer,
    parametrization: Parametrization,
    waveform: Tensor,
    wanted_db: Tensor,
    seeds: Sequence[int],
) -> tuple[Tensor, Tensor | None]:
    """Return the log-mels, and the sounds where sound is dreamed, of random changes.

    Args:
        recognizer: hears the sounds.
        parametrization: what is changed: the gain, a sound, or else the log-mel; of one that
            wraps another, the other's.
        waveform: the originals, (items, samples).
        wanted_db: RMSE of each change, (items,).
        seeds: of the items.
    """
    keys = substream(item_keys(list(seeds), waveform.device), _CONTROL)
    original = recognizer.log_mel(waveform)
    changed = getattr(parametrization, "of", parametrization)
    if isinstance(changed, StftGain):
        sound = _random_gain(recognizer, waveform, keys)
    elif "sound" in changed.kinds:
        sound = _random_sound(waveform, keys)
    else:
        noise = normal(keys, 0, *original.shape[1:]).to(original)
        unit_db = rmse_db(torch.zeros_like(noise), noise)
        return original + noise * (wanted_db / unit_db)[:, None, None], None

    def size_db(scale: Tensor) -> Tensor:
        return rmse_db(original, recognizer.log_mel(sound(scale)))

    found = sound(_scale(size_db, wanted_db))
    return recognizer.log_mel(found), found


def _random_gain(
    recognizer: Recognizer, waveform: Tensor, keys: Tensor
) -> Callable[[Tensor], Tensor]:
    """Return what gives the sounds whose spectra have a random gain of some scales, (items,)."""
    frontend, samples = recognizer.frontend, waveform.shape[-1]
    spectrum = stft(waveform, frontend)
    noise = normal(keys, 0, *spectrum.shape[1:]).to(waveform)
    return lambda scale: inverse_stft(
        spectrum * torch.exp(scale[:, None, None] * noise), frontend, samples=samples
    )


def _random_sound(waveform: Tensor, keys: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what adds white noise of some scales, (items,), in units of the original's RMS.

    In digital silence, as for a dream of the waveform, the unit is -60 dB.
    """
    noise = normal(keys, 0, waveform.shape[-1]).to(waveform)
    noise = noise * waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=QUIETEST_RMS)
    return lambda scale: waveform + scale[:, None] * noise


@torch.no_grad()
def _scale(size_db: Callable[[Tensor], Tensor], wanted_db: Tensor) -> Tensor:
    """Return the scale of each item's noise that has the wanted size, by bisection; 0 for none."""
    high = torch.full_like(wanted_db, _LARGEST_SCALE)
    low = high / 2.0**_OCTAVES
    for _ in range(_SEARCH_STEPS):
        middle = (low * high).sqrt()
        too_large = size_db(middle) > wanted_db
        low, high = torch.where(too_large, low, middle), torch.where(too_large, middle, high)
    return torch.where(wanted_db > 0, (low * high).sqrt(), torch.zeros_like(wanted_db))
