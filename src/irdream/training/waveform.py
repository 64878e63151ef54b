"""Random views of waveforms, made on the device, a batch at a time.

What a log-mel cannot show is done here: mixtures whose phases meet, rooms, and small changes of
pitch and speed together, as of a tape. A room is noise that decays (Moorer 1979), with the direct
sound before it. Equalizer and room are one product of spectra. Numbers come from the generator
that is passed in; noise comes from one on the device that it seeds, so that equal seeds give
equal views on the same device, and not across devices.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from irdream.errors import InputError
from irdream.training.draws import Draw, Range, amplitude, is_range
from irdream.training.masks import Masks

SILENCE = 1e-10  # power below which a window has no level


class WaveformAugmentation:
    """waveforms (batch, samples) and labels (batch, instruments) -> the same, changed.

    Args:
        semitones: largest change of pitch and speed, at most 1; 0: none.
        equalizer_db: standard deviation of a smooth random curve over frequency; 0: none.
        room_share: share of windows that sound as in a room.
        room_seconds: range of the time in which a room's sound falls by 60 dB.
        room_db: range of the level of the room's sound below the direct sound.
        mix_share: share of windows that get another one of the batch mixed in.
        mix_db: range of how far below the first the other one is mixed.
        union: the labels of a mixture are 1 for all that sounds, instead of shares by amplitude.
        noise_db: range of the level of white noise below the window's; null: none.
        gain_db: range of the level change of each window.
        masks: what `Masks` takes, all in its words, for the log-mel; none: no masks.

    Raises:
        InputError: when one of them is out of range.
    """

    def __init__(
        self,
        *,
        semitones: float = 1.0,
        equalizer_db: float = 4.0,
        room_share: float = 0.3,
        room_seconds: Range = (0.1, 0.8),
        room_db: Range = (3.0, 20.0),
        mix_share: float = 0.5,
        mix_db: Range = (0.0, 12.0),
        union: bool = True,
        noise_db: Range | None = (15.0, 60.0),
        gain_db: Range = (-12.0, 6.0),
        sample_rate_hz: int = 22_050,
        **masks: float,
    ) -> None:
        ranges = {"room_seconds": room_seconds, "room_db": room_db, "mix_db": mix_db,
                  "noise_db": noise_db, "gain_db": gain_db}  # fmt: skip
        for name, value in ranges.items():
            if not (is_range(value) or (value is None and name == "noise_db")):
                raise InputError(
                    f"augmentation.{name}={value}; expected [least, most], such as [0, 6]"
                )
        if not 0.0 <= semitones <= 1.0:
            raise InputError(f"augmentation.semitones={semitones}; expected 0 to 1")
        if not equalizer_db >= 0.0:
            raise InputError(f"augmentation.equalizer_db={equalizer_db}; expected 0 or more")
        for name, share in (("room_share", room_share), ("mix_share", mix_share)):
            if not 0.0 <= share <= 1.0:
                raise InputError(f"augmentation.{name}={share}; expected 0 to 1")
        if not room_seconds[0] > 0:
            raise InputError(f"augmentation.room_seconds={room_seconds}; expected above 0")
        self.semitones, self.equalizer_db, self.room_share = semitones, equalizer_db, room_share
        self.room_seconds, self.room_db, self.mix_share = room_seconds, room_db, mix_share
        self.mix_db, self.union, self.noise_db = mix_db, union, noise_db
        self.gain_db, self.sample_rate_hz = gain_db, sample_rate_hz
        self.masks = Masks(**masks)  # type: ignore[arg-type]

    def __call__(
        self, waveform: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return changed waveforms and the labels of what is now heard in them."""
        draw = Draw(len(waveform), generator, waveform.device)
        if self.semitones > 0:
            waveform = self._faster(draw, waveform)
        waveform = self._filtered(draw, waveform)
        waveform, labels = self._mix(draw, waveform, labels)
        if self.noise_db is not None:
            level = _power(waveform).sqrt() * amplitude(-draw.uniform(self.noise_db))
            waveform = waveform + level[:, None] * draw.noise(waveform.shape[1])
        waveform = waveform * amplitude(draw.uniform(self.gain_db))[:, None]
        return waveform, (labels > 0).to(labels.dtype) if self.union else labels

    def masked(self, log_mel: Tensor, generator: torch.Generator) -> Tensor:
        """Return the log-mel of what was changed, with masks where there are any."""
        return self.masks(log_mel, Draw(len(log_mel), generator, log_mel.device))

    def _faster(self, draw: Draw, waveform: Tensor) -> Tensor:
        """Return each played faster or slower about its middle, by cubic interpolation."""
        speed = torch.exp2(draw.uniform((-self.semitones, self.semitones)) / 12)[:, None]
        samples = waveform.shape[1]
        middle = (samples - 1) / 2
        at = (torch.arange(samples, device=waveform.device) - middle) * speed + middle
        at = at.clamp(1, samples - 3)
        whole = at.floor()
        t, first = at - whole, whole.long()
        a, b, c, d = (waveform.gather(1, first + k) for k in (-1, 0, 1, 2))
        return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))

    def _filtered(self, draw: Draw, waveform: Tensor) -> Tensor:
        """Return each through an equalizer and some in a room, in one product of spectra."""
        samples = waveform.shape[1]
        tail = max(1, round(self.room_seconds[1] * self.sample_rate_hz)) if self.room_share else 0
        size = _fast_size(samples + tail)
        response = torch.ones(len(waveform), size // 2 + 1, device=waveform.device)
        if self.equalizer_db > 0:
            points = draw.normal(7) * self.equalizer_db
            curve = F.interpolate(
                points[:, None], size=len(response[0]), mode="linear", align_corners=True
            )
            response = response * amplitude(curve[:, 0])
        if self.room_share > 0:
            response = response * torch.fft.rfft(self._room(draw, tail), n=size)
        if not self.equalizer_db and not self.room_share:
            return waveform
        spectrum = torch.fft.rfft(waveform, n=size) * response
        return torch.fft.irfft(spectrum, n=size)[:, :samples]

    def _room(self, draw: Draw, tail: int) -> Tensor:
        """Return impulse responses (batch, tail): a unit impulse, and for some decaying noise."""
        seconds = torch.arange(tail, device=draw.device) / self.sample_rate_hz
        decay_db = -60.0 * seconds / draw.uniform(self.room_seconds)[:, None]
        noise = draw.noise(tail) * amplitude(decay_db)
        chosen = (draw.uniform((0.0, 1.0)) < self.room_share).float()
        level = chosen * amplitude(-draw.uniform(self.room_db))
        room = noise * (level / noise.square().sum(dim=1).sqrt())[:, None]
        room[:, 0] = 1.0
        return room

    def _mix(self, draw: Draw, waveform: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Add other windows of the batch; labels weigh by amplitude and sum to one."""
        labels = labels / labels.sum(dim=1, keepdim=True).clamp(min=1.0)
        if self.mix_share == 0 or len(waveform) < 2:
            return waveform, labels
        other = draw.permutation()
        chosen = (draw.uniform((0.0, 1.0)) < self.mix_share).float()
        factor = chosen * amplitude(-draw.uniform(self.mix_db))
        power = _power(waveform)
        gain = factor * (power / power[other]).sqrt()
        labels = labels + factor[:, None] * labels[other]
        mixed = waveform + gain[:, None] * waveform[other]
        return mixed, labels / labels.sum(dim=1, keepdim=True)


def _power(waveform: Tensor) -> Tensor:
    return waveform.square().mean(dim=1).clamp(min=SILENCE)


def _fast_size(least: int) -> int:
    """Return the least even 2^a 3^b 5^c that is no smaller."""
    sizes = (2 * 2**a * 3**b * 5**c for a in range(22) for b in range(4) for c in range(3))
    return min(size for size in sizes if size >= least)
