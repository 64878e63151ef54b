"""Recorded notes as instruments: they play the compositions that SoundFonts play.

A folder of notes has a folder for each instrument, and may have a `manifest.csv` with the columns
`file`, `class` and, where known, `pitch` (C4 is middle C), `player`, `source`, `licence` and `kind`
(`note` or `phrase`). Each recording is played by one player; a note by the recorded note nearest in
pitch, shifted by resampling. Notes of unknown pitch are played in the rhythm of the composition,
phrases as they are. Some of the time organs add ranks, electric guitars are distorted or doubled,
and held notes die away or swell. The backing is played by SoundFonts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from scipy import signal

from irdream.arguments import Count, Natural, checked
from irdream.audio import audio_files, load_audio
from irdream.datasets.base import ExcerptFile, PartName
from irdream.datasets.composition import Note, Voice
from irdream.datasets.soundfont import SAMPLE_RATE_HZ, TIM_GM6MB, Fonts, SoundFont
from irdream.errors import InputError
from irdream.files import ExistingPath, content_of, read_table
from irdream.instruments import CODES, find, parse

MANIFEST = "manifest.csv"
COLUMNS = ("file", "class")
_PITCH = re.compile(r"(?<![A-Za-z])([A-G])([#sb]?)(-?\d)(?!\d)")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_QUIET = 0.02  # of the peak; what comes before is no part of a note
_RELEASE_SECONDS = (0.03, 0.12)
_RANKS = {-12: 0.35, 12: 0.5, 19: 0.2, 24: 0.3, 28: 0.1, 31: 0.1}  # semitones above: how often
_PLUCKED = frozenset({"gac", "gel", "pia"})  # whose notes die away by themselves
_SHAPED_SHARE = 0.35  # of the other notes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RecordedNote:
    """One recorded note or phrase; `key` is its MIDI key, None where it is not known."""

    path: Path
    instrument: str
    player: str
    key: int | None = None
    is_phrase: bool = False
    licence: str = "licence unknown"


@checked
@dataclass(kw_only=True, eq=False)
class Notes(SoundFont):
    """Excerpts of the eleven instruments, played by recorded notes.

    Raises InputError without notes, for a manifest that cannot be understood, or an unknown source.
    """

    root: ExistingPath | None  # the folder of the notes
    rendered: str | Path = "data/notes"  # where excerpts are written, as root of a SoundFont
    exclude_sources: Sequence[str] = ()  # sources or players not used, such as for their licence
    test_sources: Sequence[str] = ()  # that play the test part alone; without them all play both
    transposition: Annotated[int, Ge(0), Le(12)] = 4  # semitones that a note is shifted, at most
    fonts: Fonts = (TIM_GM6MB,)  # of the backing
    training_recordings: Count = 60  # this and what follows as of a SoundFont
    test_excerpts: Count = 10
    seed: Natural = 0
    name: str = "notes"

    @property
    def cache(self) -> Path:
        """Where the parts are rendered."""
        return Path(self.rendered).expanduser()

    @property
    def about(self) -> str:
        """What was recorded, with its licences, for the card of a checkpoint."""
        named = {f"{n.player.partition(': ')[0]} ({n.licence})" for n in self._recorded}
        return f"music played by recorded notes: {', '.join(sorted(named))}"

    def _deciding(self, name: PartName) -> list[object]:
        notes = [(content_of(note.path), note.player, note.key) for note in self._recorded]
        code = content_of(__file__)
        played = [self.transposition, list(self.test_sources)]
        return [*super()._deciding(name), code, notes, *played]

    def _drawn(
        self, folder: Path, name: PartName, code: str, i: int
    ) -> tuple[np.random.Generator, list[ExcerptFile]]:
        rng, files = super()._drawn(folder, name, code, i)
        source = f"{code}: {self._player_of(name, code, i)}"
        return rng, [replace(file, source=source) for file in files]

    def _lead(
        self, rng: np.random.Generator, part: PartName, code: str, i: int, seconds: float
    ) -> partial[np.ndarray]:
        player = self._player_of(part, code, i)
        own = [n for n in self._recorded if n.instrument == code and n.player == player]
        return partial(play, rng, own, seconds=seconds, transposition=self.transposition)

    def _player_of(self, part: PartName, code: str, i: int) -> str:
        """Return who plays recording i of an instrument: all players take turns."""
        players = self._players[code]
        if self.test_sources:
            chosen = [p for p in players if _is_of(p, self.test_sources) == (part == "test")]
            players = chosen or players
        return players[i % len(players)]

    @cached_property
    def _players(self) -> dict[str, list[str]]:
        players = {
            c: sorted({n.player for n in self._recorded if n.instrument == c}) for c in CODES
        }
        if lacking := [code for code, names in players.items() if not names]:
            raise InputError(
                f"{self.root} has no notes of {', '.join(lacking)}; expected a folder of notes "
                f"for each of {', '.join(CODES)}"
            )
        shared = [
            code
            for code, names in players.items()
            if len({_is_of(player, self.test_sources) for player in names}) < 2
        ]
        if self.test_sources and shared:
            logger.warning(
                "dataset.test_sources are all players of %s, or none: the same play both parts",
                ", ".join(shared),
            )
        return players

    @cached_property
    def _recorded(self) -> list[RecordedNote]:
        if self.root is None:
            raise InputError(
                "dataset.root (of a mixture: dataset.datasets.notes.root) is not set; expected a "
                "folder of recorded notes"
            )
        root = Path(self.root).expanduser()
        if (manifest := root / MANIFEST).is_file():
            notes = _of_manifest(manifest)
        else:
            notes = [note for path in audio_files(root) for note in _of_name(path, root)]
        for key, sources in (
            ("exclude_sources", self.exclude_sources),
            ("test_sources", self.test_sources),
        ):
            for source in sources:
                if not any(_is_of(note.player, [source]) for note in notes):
                    names = sorted({note.player.partition(": ")[0] for note in notes} - {""})
                    expected = f"some of {', '.join(names)}" if names else f"{MANIFEST} to name it"
                    raise InputError(
                        f"dataset.{key}: {source!r} is no source of {root}; expected {expected}"
                    )
        return [note for note in notes if not _is_of(note.player, self.exclude_sources)]


def _is_of(player: str, sources: Sequence[str]) -> bool:
    """Say whether a player, named `source: player`, is one of some sources or players."""
    return not {player, *player.split(": ", 1)}.isdisjoint(sources)


def _of_manifest(path: Path) -> list[RecordedNote]:
    """Return the notes that a manifest names; raise InputError for what cannot be understood."""
    notes = []
    for row in read_table(path, COLUMNS):
        pitch, sound = row.get("pitch") or "", path.parent / row["file"].strip()
        key = _key(pitch)
        if pitch and key is None:
            raise InputError(
                f"{path}: pitch {pitch!r} of {row['file']}; expected a note such as C4 or F#3"
            )
        try:
            instrument = parse(row["class"])
        except InputError as error:
            raise InputError(f"{path}: {error} (of {row['file']})") from None
        if not sound.is_file():
            raise InputError(f"{path}: no such file {str(sound)!r}; leave its row out")
        names = filter(None, (row.get("source"), row.get("player")))
        notes.append(
            RecordedNote(
                path=sound,
                instrument=instrument,
                player=": ".join(names),
                key=key,
                is_phrase=(row.get("kind") or "").strip().lower() == "phrase",
                licence=row.get("licence") or "licence unknown",
            )
        )
    return notes


def _of_name(path: Path, root: Path) -> list[RecordedNote]:
    """Return the note that a file's place and name tell; none outside an instrument's folder."""
    folders = path.relative_to(root).parts[:-1]
    if not folders or (instrument := find(folders[0])) is None:
        return []
    player, key = "/".join(folders[1:]), _key(path.stem)
    return [RecordedNote(path=path, instrument=instrument, player=player, key=key)]


def _key(text: str) -> int | None:
    """Return the MIDI key of the last pitch in a text, such as 61 of `cello-C#4`."""
    if not (found := _PITCH.findall(text)):
        return None
    step, sign, octave = found[-1]
    return 12 * (int(octave) + 1) + _STEPS[step] + {"": 0, "b": -1}.get(sign, 1)


def play(
    rng: np.random.Generator,
    notes: Sequence[RecordedNote],
    voice: Voice,
    *,
    seconds: float,
    transposition: int,
) -> np.ndarray:
    """Return a voice played by the notes of one player, (samples,) float32.

    Args:
        notes: of one instrument and player.
        voice: what is to be played; it is moved by octaves to where the notes are.
        transposition: semitones by which a note may be shifted.
    """
    instrument = notes[0].instrument
    phrases = [note for note in notes if note.is_phrase]
    if phrases and (len(phrases) == len(notes) or rng.random() < 0.5):
        sound = _phrases(rng, phrases, round(seconds * SAMPLE_RATE_HZ), min(transposition, 2))
    else:
        single = [note for note in notes if not note.is_phrase]
        once = partial(_melody, rng, single, seconds=seconds, limit=transposition)
        sound = once(voice)
        if instrument == "org":
            for semitones, share in _RANKS.items():
                if rng.random() < share:
                    sound = sound + rng.uniform(0.2, 0.8) * once(_moved(voice, semitones))
        if instrument == "gel" and rng.random() < 0.3:  # the same played twice
            sound = sound + np.roll(once(voice), round(rng.uniform(0.01, 0.03) * SAMPLE_RATE_HZ))
    if instrument == "gel":
        sound = _amplified(rng, sound)
    return sound.astype(np.float32)


def _melody(
    rng: np.random.Generator,
    notes: Sequence[RecordedNote],
    voice: Voice,
    *,
    seconds: float,
    limit: int,
) -> np.ndarray:
    samples = round(seconds * SAMPLE_RATE_HZ)
    sound = np.zeros(samples, np.float32)
    pitched = [note for note in notes if note.key is not None]
    keys = np.array([note.key for note in pitched])
    for note in voice.notes:
        start = round(note.start * SAMPLE_RATE_HZ)
        if pitched:
            key = note.key
            key += 12 * max(0, -((key - keys.min() + limit) // 12))
            key -= 12 * max(0, -((keys.max() + limit - key) // 12))
            distances = np.abs(keys - key)
            nearest = int(rng.choice(np.flatnonzero(distances == distances.min())))
            if distances[nearest] > limit:  # a gap between the notes
                continue
            played, semitones = pitched[nearest], int(key - keys[nearest])
        else:
            played = notes[int(rng.integers(len(notes)))]
            semitones = int(rng.integers(-min(limit, 3), min(limit, 3) + 1))
        held = round((note.length + rng.uniform(*_RELEASE_SECONDS)) * SAMPLE_RATE_HZ)
        part = _shifted(played.path, semitones)[: max(0, min(held, samples - start))].copy()
        release = min(round(_RELEASE_SECONDS[1] * SAMPLE_RATE_HZ), len(part) // 2)
        part[len(part) - release :] *= np.linspace(1.0, 0.0, release, dtype=np.float32)
        if played.instrument not in _PLUCKED and rng.random() < _SHAPED_SHARE:
            part *= _shape(rng, len(part))
        sound[start : start + len(part)] += part * (note.velocity / 100) ** 1.5
    return sound


def _phrases(
    rng: np.random.Generator, phrases: Sequence[RecordedNote], samples: int, limit: int
) -> np.ndarray:
    """Return phrases one after the other, from some place in the first one."""
    sound = np.zeros(0, np.float32)
    while len(sound) < samples:
        phrase = phrases[int(rng.integers(len(phrases)))]
        whole = _shifted(phrase.path, int(rng.integers(-limit, limit + 1)), is_phrase=True)
        start = 0 if len(sound) else int(rng.integers(max(1, len(whole) - samples + 1)))
        sound = np.concatenate([sound, whole[start:]])
    return sound[:samples]


def _moved(voice: Voice, semitones: int) -> Voice:
    notes = [Note(n.start, n.length, n.key + semitones, n.velocity) for n in voice.notes]
    return replace(voice, notes=notes)


@lru_cache(maxsize=4096)
def _shifted(path: Path, semitones: int, *, is_phrase: bool = False) -> np.ndarray:
    """Return a recording shifted in pitch and, as by a tape, in time; a note from its attack on."""
    sound = load_audio(path, sample_rate_hz=SAMPLE_RATE_HZ).numpy()
    if not is_phrase:
        attack = int(np.argmax(np.abs(sound) > _QUIET * np.abs(sound).max()))
        sound = sound[max(0, attack - SAMPLE_RATE_HZ // 200) :]
    rate = Fraction(2 ** (-semitones / 12)).limit_denominator(200)
    if semitones:
        sound = signal.resample_poly(sound, rate.numerator, rate.denominator)
    return sound.astype(np.float32)


def _shape(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return the level over time of a note that dies away or swells, (samples,) float32."""
    time = np.arange(samples, dtype=np.float32) / SAMPLE_RATE_HZ
    if rng.random() < 0.5:
        return np.exp(-time / np.float32(rng.uniform(0.2, 1.0)))
    return (0.1 + 0.9 * np.linspace(0.0, 1.0, samples, dtype=np.float32)) ** rng.uniform(0.5, 2.0)


def _amplified(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Return an electric guitar through a cabinet; six of ten are distorted before."""
    peak = np.abs(sound).max()
    if rng.random() < 0.6 and peak > 0:
        gain = 10 ** (rng.uniform(10.0, 45.0) / 20)
        clean = _filtered(sound / peak, rng.uniform(60.0, 180.0), "highpass")
        driven = np.tanh(gain * clean + rng.uniform(0.0, 0.2))
        share = rng.uniform(0.0, 0.3)
        sound = (1 - share) * (driven - driven.mean()) + share * clean
    return _filtered(sound, rng.uniform(2500.0, 8000.0), "lowpass")


def _filtered(sound: np.ndarray, cutoff_hz: float, kind: str) -> np.ndarray:
    filters = signal.butter(2, cutoff_hz, kind, fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(signal.sosfilt(filters, sound))
