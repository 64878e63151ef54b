"""Random music for predominant instruments, and how a player performs it.

Enough variety that a recogniser cannot lean on one key, loudness, articulation or density, and no
more. Guitars, organ and piano play melodies, chords or broken chords, the others melodies; bass,
pad and drums follow the same chords and metre. `compose` writes the notes; `perform` has a player,
a function from voices to a waveform, turn them into sound, in a room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

# General MIDI programs (0-based), and the lowest and highest key that players use.
INSTRUMENTS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "cel": ((42,), 36, 74),
    "cla": ((71,), 50, 88),
    "flu": ((73,), 60, 94),
    "gac": ((24, 25), 40, 78),
    "gel": ((26, 27, 28, 29, 30), 40, 84),
    "org": ((16, 17, 18, 19, 20), 40, 84),
    "pia": ((0, 1), 33, 92),
    "sax": ((64, 65, 66, 67), 49, 82),
    "tru": ((56, 59), 54, 84),
    "vio": ((40,), 55, 94),
    "voi": ((52, 53, 54), 48, 80),
}
VIBRATO = {"gac": 0.1, "gel": 0.2, "pia": 0.0}  # how often in a training part; others: 0.45
CHORDAL = frozenset({"gac", "gel", "org", "pia"})
BASS, PAD = (32, 33, 34, 35, 36, 37), (48, 49)
KICK, SNARE, CLOSED_HAT, OPEN_HAT, CRASH, RIDE = 36, 38, 42, 46, 49, 51

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))
_PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (1, 4, 0, 0), (0, 6, 5, 4), (0, 0, 3, 4))


@dataclass(frozen=True)
class Note:
    """One note: start and length in seconds, MIDI key and velocity."""

    start: float
    length: float
    key: int
    velocity: int


@dataclass(frozen=True)
class Voice:
    """The notes of one program; `drums` selects bank 128."""

    program: int
    notes: list[Note] = field(default_factory=list)
    drums: bool = False


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What the voices of one piece share: metre, key and chords."""

    seconds: float
    beat_seconds: float
    tonic: int
    scale: tuple[int, ...]
    chords: tuple[int, ...]

    def degree(self, step: int) -> int:
        """Return the key, in the lowest octave, of a step of the scale."""
        octave, place = divmod(step, len(self.scale))
        return self.tonic + 12 * octave + self.scale[place]

    def chord(self, time: float) -> tuple[int, ...]:
        """Return the pitch classes of the chord that sounds at `time`: a triad."""
        bar = int(time / (4 * self.beat_seconds) + 1e-6)  # a bar's start may round down
        root = self.chords[bar % len(self.chords)]
        return tuple(self.degree(root + third) % 12 for third in (0, 2, 4))


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Predominant instruments, each with its level in dB re full scale, and their backing."""

    leads: list[tuple[str, Voice, float]]
    backing: list[Voice]
    backing_db: float


Player = Callable[[Sequence[Voice]], np.ndarray]  # returns the sound of voices, (samples,) float32


class SilentLeadError(RuntimeError):
    """The player lacks the instrument, or the only note comes after the end."""


def draw_piece(rng: np.random.Generator, *, seconds: float) -> Piece:
    """Draw tempo (60 to 160 beats a minute), key, scale and chords."""
    return Piece(
        seconds=seconds,
        beat_seconds=60.0 / rng.uniform(60.0, 160.0),
        tonic=int(rng.integers(12)),
        scale=_SCALES[int(rng.integers(len(_SCALES)))],
        chords=_PROGRESSIONS[int(rng.integers(len(_PROGRESSIONS)))],
    )


def compose(rng: np.random.Generator, piece: Piece, instruments: Sequence[str]) -> Composition:
    """Return voices for the predominant instruments of a piece, and a backing."""
    leads = [(code, lead(rng, code, piece), float(rng.uniform(-4, 0))) for code in instruments]
    voices = backing(rng, piece)
    level_db = float(rng.uniform(-24.0, -3.0)) if voices else 0.0
    return Composition(leads=leads, backing=voices, backing_db=level_db)


def perform(
    rng: np.random.Generator,
    composition: Composition,
    player: Player,
    *,
    sample_rate_hz: int,
    skipped_seconds: float = 0.0,
    leads: Sequence[Callable[[Voice], np.ndarray]] = (),
    vibrato: bool = False,
) -> np.ndarray:
    """Return the sound of a composition in a random room, (samples,) float32, at -20 to -0.5 dB.

    Args:
        player: plays some voices together, at any level.
        skipped_seconds: at the beginning, which is left out.
        leads: play the predominant instruments, one each; none: the player does.
        vibrato: give it to some of the predominant instruments, of whatever kind but a piano. Where
            strings, flutes and voices alone have it, a recognizer takes it for these.

    Raises:
        SilentLeadError: when a predominant instrument does not sound.
    """
    sounds = []
    for place, (code, voice, level_db) in enumerate(composition.leads):
        sound = leads[place](voice) if leads else player([voice])
        if not sound.any():
            raise SilentLeadError(f"no sound of {code}")
        if vibrato and rng.random() < VIBRATO.get(code, 0.45):
            sound = with_vibrato(rng, sound, sample_rate_hz=sample_rate_hz)
        sounds.append(_at_level(sound, level_db))
    if composition.backing:
        sounds.append(_at_level(player(composition.backing), composition.backing_db))
    mix = room(rng, sum(sounds[1:], sounds[0]), sample_rate_hz=sample_rate_hz)
    mix = mix[round(skipped_seconds * sample_rate_hz) :]
    peak = np.abs(mix).max()
    return mix * np.float32(10 ** (rng.uniform(-20.0, -0.5) / 20) / peak) if peak > 0 else mix


def with_vibrato(rng: np.random.Generator, sound: np.ndarray, *, sample_rate_hz: int) -> np.ndarray:
    """Return a sound whose pitch and level swing, more and less in the course of time.

    The pitch swings by up to 0.1 to 0.5 semitones, 4 to 7 times a second, the level by up to 4 dB.
    """
    rate_hz, semitones = rng.uniform(4.0, 7.0), rng.uniform(0.1, 0.5)
    time = np.arange(len(sound)) / sample_rate_hz
    turns = np.arange(0.0, time[-1] + 1.0, 0.5)
    depth = np.interp(time, turns, rng.uniform(0.0, 1.0, len(turns)))
    swing = depth * np.sin(2 * np.pi * rate_hz * time + rng.uniform(0, 2 * np.pi))
    seconds = semitones / 12 * np.log(2) / (2 * np.pi * rate_hz)
    level_db = rng.uniform(0.0, 4.0) * np.roll(swing, round(sample_rate_hz / rate_hz / 4))
    bent = np.interp((time + seconds * swing) * sample_rate_hz, np.arange(len(sound)), sound)
    return (bent * 10 ** (level_db / 20)).astype(np.float32)


def lead(rng: np.random.Generator, instrument: str, piece: Piece) -> Voice:
    """Return the part of the predominant instrument."""
    programs, low, high = INSTRUMENTS[instrument]
    program = int(rng.choice(programs))
    span = int(rng.integers(10, 20))
    bottom = int(rng.integers(low, max(low + 1, high - span)))
    keys = (bottom, min(high, bottom + span))
    style = rng.choice(["melody", "chords", "broken"]) if instrument in CHORDAL else "melody"
    write = {"melody": _melody, "chords": _chords, "broken": _broken}[str(style)]
    notes = write(rng, piece, keys)
    while not notes:  # rests alone
        notes = write(rng, piece, keys)
    return Voice(program, notes)


def backing(rng: np.random.Generator, piece: Piece) -> list[Voice]:
    """Return none to three of bass, pad and drums."""
    voices = []
    if rng.random() < 0.55:
        voices.append(Voice(int(rng.choice(BASS)), _bass(rng, piece)))
    if rng.random() < 0.45:
        voices.append(Voice(int(rng.choice(PAD)), _pad(rng, piece)))
    if rng.random() < 0.45:
        voices.append(Voice(0, _drums(rng, piece), drums=True))
    return voices


def _melody(rng: np.random.Generator, piece: Piece, keys: tuple[int, int]) -> list[Note]:
    """A random walk on the scale, leaning on chord tones, with rests."""
    ladder = [k for k in range(*keys) if (k - piece.tonic) % 12 in piece.scale]
    lengths = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
    weights = rng.dirichlet([0.5, 2.0, 2.0, 1.0, 0.3])
    held, loud, rests = rng.uniform(0.45, 1.05), rng.integers(60, 118), rng.uniform(0.0, 0.15)
    place, time, notes = int(rng.integers(len(ladder))), 0.0, []
    while time < piece.seconds:
        length = float(rng.choice(lengths, p=weights)) * piece.beat_seconds
        length = min(max(length, 0.09), 3.0)
        if rng.random() >= rests:
            key = _near_chord(ladder[place], piece.chord(time)) if rng.random() < 0.3 else None
            key = ladder[place] if key is None or not keys[0] <= key <= keys[1] else key
            notes.append(Note(time, length * held, key, _velocity(rng, loud)))
        step = int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3, 5, -5]))
        place = int(np.clip(place + step, 0, len(ladder) - 1))
        time += length
    return notes


def _chords(rng: np.random.Generator, piece: Piece, keys: tuple[int, int]) -> list[Note]:
    """Chords struck together or strummed, on or off the beat."""
    pulse = piece.beat_seconds * float(rng.choice([0.5, 1.0, 2.0, 4.0]))
    held, loud = rng.uniform(0.4, 1.0), rng.integers(60, 115)
    strum, skip = rng.uniform(0.0, 0.03), rng.uniform(0.0, 0.3)
    notes = []
    for time in np.arange(0.0, piece.seconds, pulse):
        if rng.random() < skip:
            continue
        voicing = _voicing(rng, piece.chord(time), keys)
        notes += [
            Note(float(time) + strum * i, pulse * held, key, _velocity(rng, loud))
            for i, key in enumerate(voicing)
        ]
    return notes


def _broken(rng: np.random.Generator, piece: Piece, keys: tuple[int, int]) -> list[Note]:
    """Chord tones one after the other, overlapping."""
    pulse = piece.beat_seconds * float(rng.choice([0.25, 0.5, 0.5, 1.0]))
    pulse, held, loud = max(pulse, 0.1), rng.uniform(0.6, 3.0), rng.integers(60, 110)
    notes = []
    for i, time in enumerate(np.arange(0.0, piece.seconds, pulse)):
        voicing = _voicing(rng, piece.chord(time), keys, full=True)
        notes.append(
            Note(float(time), pulse * held, voicing[i % len(voicing)], _velocity(rng, loud))
        )
    return notes


def _bass(rng: np.random.Generator, piece: Piece) -> list[Note]:
    pulse = piece.beat_seconds * float(rng.choice([0.5, 1.0, 2.0]))
    loud = rng.integers(70, 110)
    return [
        Note(float(time), pulse * 0.9, 28 + (piece.chord(time)[0] - 28) % 12, _velocity(rng, loud))
        for time in np.arange(0.0, piece.seconds, pulse)
    ]


def _pad(rng: np.random.Generator, piece: Piece) -> list[Note]:
    bar, loud = 4 * piece.beat_seconds, rng.integers(50, 90)
    return [
        Note(float(time), bar, 52 + (tone - 52) % 12, _velocity(rng, loud))
        for time in np.arange(0.0, piece.seconds, bar)
        for tone in piece.chord(time)
    ]


def _drums(rng: np.random.Generator, piece: Piece) -> list[Note]:
    beat, hat = piece.beat_seconds, int(rng.choice([CLOSED_HAT, OPEN_HAT, RIDE]))
    grain, loud = float(rng.choice([0.25, 0.5, 1.0])), rng.integers(60, 115)
    notes = [Note(0.0, 0.3, CRASH, _velocity(rng, loud))] if rng.random() < 0.3 else []
    for time in np.arange(0.0, piece.seconds, beat * grain):
        notes.append(Note(float(time), 0.1, hat, _velocity(rng, loud - 10)))
    for i, time in enumerate(np.arange(0.0, piece.seconds, beat)):
        notes.append(Note(float(time), 0.1, SNARE if i % 2 else KICK, _velocity(rng, loud)))
        if rng.random() < 0.3:
            notes.append(Note(float(time + beat / 2), 0.1, KICK, _velocity(rng, loud)))
    return notes


def _voicing(
    rng: np.random.Generator, chord: tuple[int, ...], keys: tuple[int, int], *, full: bool = False
) -> list[int]:
    """Return two to five ascending keys of a chord within a range; `full`: all of them."""
    tones = [k for k in range(keys[0], keys[1] + 1) if k % 12 in chord]
    if full or len(tones) < 3:
        return tones
    count = int(rng.integers(2, min(6, len(tones) + 1)))
    bottom = int(rng.integers(0, len(tones) - count + 1))
    return tones[bottom : bottom + count]


def _near_chord(key: int, chord: tuple[int, ...]) -> int:
    """Return the chord tone nearest to `key`."""
    return min((k for k in range(key - 6, key + 7) if k % 12 in chord), key=lambda k: abs(k - key))


def _velocity(rng: np.random.Generator, loud: float | np.integer) -> int:
    return int(np.clip(loud + rng.normal(0.0, 8.0), 20, 127))


def _at_level(sound: np.ndarray, level_db: float) -> np.ndarray:
    """Return a voice at a level in dB against full scale."""
    loud = level(sound)
    return (sound * (10 ** (level_db / 20) / loud) if loud > 0 else sound).astype(np.float32)


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
