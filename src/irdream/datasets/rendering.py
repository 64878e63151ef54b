"""From notes to sound: symusic plays a SoundFont, a simple room answers.

symusic renders a 3 s excerpt in a few milliseconds and installs from pip alone; it ignores
pitch bend, so tuning is varied by rendering at a slightly different rate, as a tape speed
does, and reading the result at the nominal one. Lead and backing are rendered apart, so
that their levels can be set in dB.

A synthesizer is made for each rendering, which takes 0.6 ms for 6 MB of font and 3 ms for 148 MB.
symusic 0.5.8 remembers each sample by its key and place in the font alone, with the tuning and
level of the zone that played it first: one that is kept gives another sound (some notes of
organ and voice by a fifth of the peak) after other music than at first.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from irdream.datasets.composition import Voice
from irdream.datasets.retune import retuned
from irdream.errors import InputError

TIM_GM6MB = "TimGM6mb"
LOUDEST = 100.0  # far above any mixture of voices; a synthesizer that fails goes far beyond
FLUID_R3 = "/usr/share/sounds/sf2/FluidR3_GM.sf2"


class UnstableSoundError(RuntimeError):
    """The synthesizer gave no music but numbers beyond all bounds."""


def font_path(font: str, *, cache_dir: Path) -> Path:
    """Return the playable copy of a font, given by its path or as `TimGM6mb`.

    Raises:
        InputError: when there is no such font.
    """
    if font == TIM_GM6MB:
        spec = find_spec("pretty_midi")
        folders = list(spec.submodule_search_locations or []) if spec else []
        path = Path(folders[0], "TimGM6mb.sf2") if folders else Path("TimGM6mb.sf2")
    else:
        path = Path(font).expanduser()
    if not path.is_file():
        raise InputError(
            f"no SoundFont at {font!r}; expected {TIM_GM6MB!r} or the path of a .sf2 or .sf3 file "
            f"(Debian's fluid-soundfont-gm installs {FLUID_R3})"
        )
    return retuned(path, cache_dir=cache_dir)


def render(
    voices: list[Voice],
    *,
    font: Path,
    seconds: float,
    sample_rate_hz: int,
    cents: int = 0,
    formant_semitones: int = 0,
) -> np.ndarray:
    """Return the sound of some voices, (samples,) float32, tuned `cents` away from 440 Hz.

    With `formant_semitones` the spectra are moved by so much while the pitch stays: lower notes
    are played slower, and their sound is read as much faster.

    Raises:
        UnstableSoundError: when the result is not finite or absurdly loud.
    """
    import symusic

    slower = 2 ** (formant_semitones / 12)
    rate_hz = sample_rate_hz * 2 ** (-cents / 1200) / slower
    score: Any = symusic.Score(480, ttype="Second")
    for voice in voices:
        track: Any = symusic.Track("", voice.program, voice.drums, ttype="Second")
        for note in voice.notes:
            start, length = note.start * slower, note.length * slower
            key = note.key - formant_semitones
            track.notes.append(symusic.Note(start, length, key, note.velocity, ttype="Second"))
        score.tracks.append(track)
    sound = _synthesizer(str(font), round(rate_hz)).render(score)
    mono = np.asarray(sound).mean(axis=0)[: round(seconds * sample_rate_hz)]
    if not np.abs(mono).max(initial=0.0) < LOUDEST:  # also true for NaN
        raise UnstableSoundError(f"{font.name} gave |x| > {LOUDEST:g}")
    return np.pad(mono, (0, round(seconds * sample_rate_hz) - len(mono))).astype(np.float32)


def room(rng: np.random.Generator, waveform: np.ndarray, *, sample_rate_hz: int) -> np.ndarray:
    """Add the reverberation of a random room: noise that decays by 60 dB in 0.2 to 1.6 s."""
    decay_seconds, wet = rng.uniform(0.2, 1.6), rng.uniform(0.0, 0.5) ** 2
    samples = round(decay_seconds * sample_rate_hz)
    tail = rng.standard_normal(samples) * 10 ** (-3.0 * np.arange(samples) / samples)
    tail /= np.sqrt(np.sum(tail**2))
    length = len(waveform) + samples - 1
    size = 1 << (length - 1).bit_length()
    echo = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(tail, size), size)
    return (waveform + wet * echo[: len(waveform)]).astype(np.float32)


def level(waveform: np.ndarray) -> float:
    """Return the root mean square of the loudest half of the 50 ms blocks; 0 for silence."""
    blocks = waveform[: len(waveform) // 1102 * 1102].reshape(-1, 1102)
    power = np.sort((blocks**2).mean(axis=1)) if len(blocks) else np.zeros(1)
    return float(np.sqrt(power[len(power) // 2 :].mean()))


def _synthesizer(font: str, sample_rate_hz: int) -> Any:
    import symusic

    return symusic.Synthesizer(font, sample_rate_hz, 0)
