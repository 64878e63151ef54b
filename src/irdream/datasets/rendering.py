"""From notes to sound: TinySoundFont plays a SoundFont, a simple room answers.

TinySoundFont obeys what makes a font's instruments what they are: envelopes of volume and filter,
releases, tuning, velocity layers. It reads a font once (6 MB: 30 ms; 148 MB: 1 s and 0.3 GB; 86 MB
of .sf3: 12 s and 1.1 GB) and then plays 3 s in about 2 ms.

PyPI's package asks for PyAudio, which has to be compiled and only plays through a sound card; so
it is installed without what it asks for.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from irdream.contents import content_of
from irdream.datasets.composition import Voice
from irdream.errors import InputError

TIM_GM6MB = "TimGM6mb"
FLUID_R3 = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
_DRUM_CHANNEL = 9
_VOICES = 256  # that sound at once
_SILENT_SECONDS = 0.1  # after a reset, far more than it needs


def font_path(font: str) -> Path:
    """Return where a font is, given by its path or as `TimGM6mb`.

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
    return path


def render(
    voices: list[Voice], *, font: Path, seconds: float, sample_rate_hz: int, cents: int = 0
) -> np.ndarray:
    """Return the sound of some voices, (samples,) float32, tuned `cents` away from 440 Hz.

    A voice whose program the font does not have is silent.

    Raises:
        InputError: when the font cannot be read, or there is no synthesizer.
    """
    synth = _synthesizer(font, content_of(font), sample_rate_hz)
    for sounds in synth.soundfonts.values():
        sounds.reset()
    synth.generate(round(_SILENT_SECONDS * sample_rate_hz))  # what was played before fades out
    events = []
    for channel, voice in enumerate(voices):
        at = _DRUM_CHANNEL if voice.drums else channel
        if not _choose(synth, at, voice):
            continue
        synth.set_tuning(at, cents / 100)
        for note in voice.notes:
            events.append((round(note.start * sample_rate_hz), at, note.key, note.velocity))
            events.append((round((note.start + note.length) * sample_rate_hz), at, note.key, 0))
    return _played(synth, sorted(events, key=_when), round(seconds * sample_rate_hz))


def _when(event: tuple[int, int, int, int]) -> tuple[int, bool]:
    """Order notes by time, those that end before those that begin."""
    return event[0], event[3] > 0


def _choose(synth: Any, channel: int, voice: Voice) -> bool:
    """Put a voice's program on a channel; say whether the font has it."""
    try:
        synth.program_select(channel, 0, 0, voice.program, is_drums=voice.drums)
    except RuntimeError:
        return False
    return True


def _played(synth: Any, events: list[tuple[int, int, int, int]], samples: int) -> np.ndarray:
    """Return the mean of both channels, (samples,)."""
    pieces, now = [], 0
    for at, channel, key, velocity in [*events, (samples, 0, 0, 0)]:
        until = min(at, samples)
        if until > now:
            stereo = np.frombuffer(synth.generate(until - now), dtype=np.float32)
            pieces.append(stereo.reshape(-1, 2).mean(axis=1))
            now = until
        if velocity:
            synth.noteon(channel, key, velocity)
        elif at < samples:
            synth.noteoff(channel, key)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


@lru_cache(maxsize=4)
def _synthesizer(font: Path, content: str, sample_rate_hz: int) -> Any:
    if find_spec("tinysoundfont") is None:
        raise InputError(
            "no synthesizer for dataset=soundfont; expected tinysoundfont: "
            "pip install --no-deps tinysoundfont"
        )
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=sample_rate_hz)
    try:
        synth.sfload(str(font), max_voices=_VOICES)
    except RuntimeError as error:
        raise InputError(
            f"{font} is not a readable SoundFont ({error}); expected a .sf2 or .sf3 file"
        ) from error
    return synth


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
