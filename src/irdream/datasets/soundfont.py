"""The embedded data set: rendered music in the folder tree of IRMAS.

Each recording is a short piece (composition.py) played by one SoundFont: training excerpts of 3 s,
test excerpts of 5 to 12 s with one to three labels. Recording i of a part depends on the seed, the
fonts and i alone; a part is rendered (5 ms an excerpt) when it is first asked for, and a killed
rendering is resumed. Scores on the fonts of training say little about another font and less about
recorded music. TinySoundFont plays; it is installed without PyAudio, which it asks for.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Len
from filelock import FileLock

from irdream.arguments import Count, Natural, checked
from irdream.audio import write_wav
from irdream.datasets import composition
from irdream.datasets.base import ExcerptFile, Excerpts, PartName, audio_loader
from irdream.datasets.composition import SilentLeadError, Voice, compose, draw_piece, perform
from irdream.errors import InputError
from irdream.files import content_of, replacing
from irdream.fingerprint import fingerprint_of
from irdream.instruments import CODES
from irdream.progress import track

TIM_GM6MB = "TimGM6mb"
FLUID_R3 = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
SAMPLE_RATE_HZ = 22_050
ATTEMPTS = 20  # at a piece whose lead sounds
EXCERPT_SECONDS = 3.0
LEAD_IN_SECONDS = 0.5
LABELS_SHARE = (0.5, 0.35, 0.15)  # test excerpts with one, two and three labels
Fonts = str | Annotated[Sequence[str], Len(1)]
CENTS = (-30, -20, -10, 0, 10, 20, 30)
_PARTS: tuple[PartName, PartName] = ("training", "test")
_GENRE = "pop_roc"  # of IRMAS', the nearest
_DRUM_CHANNEL = 9
_VOICES = 256  # that sound at once
_SILENT_SECONDS = 0.1  # after a reset, far more than it needs


@checked
@dataclass(kw_only=True, eq=False)
class SoundFont:
    """Rendered excerpts of the eleven instruments."""

    root: str | Path  # the cache folder; each choice of what follows gets a folder of its own
    fonts: Fonts = (TIM_GM6MB,)  # or paths of .sf2 and .sf3 files; one or a list
    test_fonts: Fonts | None = None  # of the test part, not trained on; None: the same
    training_recordings: Count = 60  # for each instrument; each gives one to three excerpts
    test_excerpts: Count = 10  # for each instrument as the first label
    single_label: bool = False  # give every test excerpt one label only
    seed: Natural = 0  # of the music
    name: str = "soundfont"

    @property
    def cache(self) -> Path:
        """Where the parts are rendered."""
        return Path(self.root).expanduser()

    def _fonts(self, part: PartName) -> list[str]:
        own = self.test_fonts if part == "test" else None
        fonts = self.fonts if own is None else own
        return [fonts] if isinstance(fonts, str) else list(fonts)

    def _count(self, part: PartName) -> int:
        return self.test_excerpts if part == "test" else self.training_recordings

    @property
    def about(self) -> str:
        """What the excerpts are, for the card of a checkpoint."""
        trained, tested = (
            ", ".join(Path(font).stem for font in self._fonts(part)) for part in _PARTS
        )
        told = f"music rendered by {trained}"
        return told if trained == tested else f"{told}, for the test by {tested}"

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part, rendered first when it is not in the cache."""
        self._render(name)
        return Excerpts(self.listed(name), audio_loader(sample_rate_hz))

    def is_rendered(self, name: PartName) -> bool:
        """Say whether a part is in the cache."""
        return (self.folder(name) / "complete.json").is_file()

    def to_prepare(self) -> str:
        """Say what `prepare` would do; nothing where it is done."""
        parts = [f"the {name} part" for name in _PARTS if not self.is_rendered(name)]
        return f"renders {' and '.join(parts)} into {self.cache}" if parts else ""

    def prepare(self) -> None:
        """Render both parts."""
        for name in _PARTS:
            self._render(name)

    def folder(self, name: PartName) -> Path:
        """Return where a part is or will be; its name holds all that decides its sound."""
        return self.cache / f"{name}-{fingerprint_of(self._deciding(name))[:12]}"

    def _deciding(self, name: PartName) -> list[object]:
        """Return all that decides the sound of a part."""
        code = [content_of(file) for file in (__file__, str(composition.__file__))]
        fonts = [content_of(font_path(font)) for font in self._fonts(name)]
        choice = [code, fonts, self.seed, name, self._count(name)]
        return choice + ([self.single_label] if name == "test" else [])

    def listed(self, name: PartName) -> list[ExcerptFile]:
        """Return the files of one part, rendered or not."""
        folder = self.folder(name)
        return [file for work in self._work(name) for file in self._drawn(folder, name, *work)[1]]

    def _work(self, name: PartName) -> list[tuple[str, int]]:
        return [(code, i) for code in CODES for i in range(self._count(name))]

    def _render(self, name: PartName) -> None:
        """Render a part unless it is in the cache."""
        folder = self.folder(name)
        if self.is_rendered(name):
            return
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not self.is_rendered(name):
                work = self._work(name)
                for code, i in track(work, f"rendering the {name} part", total=len(work)):
                    self._write(folder, name, code, i)
                with replacing(folder / "complete.json") as file:
                    file.write(json.dumps({"fonts": self._fonts(name), "seed": self.seed}).encode())

    def _drawn(
        self, folder: Path, name: PartName, code: str, i: int
    ) -> tuple[np.random.Generator, list[ExcerptFile]]:
        """Return the files of a recording, and the generator that its music is drawn from."""
        rng = np.random.default_rng([self.seed, int(name == "test"), CODES.index(code), i])
        if name == "test":
            count = 1 if self.single_label else 1 + int(rng.choice(3, p=LABELS_SHARE))
            others = [other for other in CODES if other != code]
            labels = (code, *rng.choice(others, size=count - 1, replace=False).tolist())
            recording, stems = f"{code}-{i:04d}", [f"{code}-{i:04d}"]
            inner = Path("IRMAS-TestingData-Part1", "Part1")
        else:
            labels, stem = (code,), f"[{code}][nod][{_GENRE}]{i:04d}"
            recording = f"{code}/{stem}"
            stems = [f"{stem}__{k + 1}" for k in range(int(rng.integers(1, 4)))]
            inner = Path("IRMAS-TrainingData", code)
        return rng, [
            ExcerptFile(
                path=folder / inner / f"{stem}.wav",
                name=stem,
                labels=labels,
                recording=recording,
                genre="" if name == "test" else _GENRE,
            )
            for stem in stems
        ]

    def _write(self, folder: Path, name: PartName, code: str, i: int) -> None:
        """Render a recording, unless its files are there; the annotation comes last."""
        rng, files = self._drawn(folder, name, code, i)
        is_test = name == "test"
        if all(f.path.with_suffix(".txt" if is_test else ".wav").is_file() for f in files):
            return
        files[0].path.parent.mkdir(parents=True, exist_ok=True)
        seconds = float(rng.uniform(5.0, 12.0)) if is_test else len(files) * EXCERPT_SECONDS
        labels, played_seconds = files[0].labels, seconds + LEAD_IN_SECONDS
        leads = [self._lead(rng, name, label, i, played_seconds) for label in labels]
        music = self._music(rng, name, labels, seconds=seconds, leads=list(filter(None, leads)))
        for file, sound in zip(files, np.array_split(music, len(files)), strict=True):
            write_wav(file.path, torch.from_numpy(sound), sample_rate_hz=SAMPLE_RATE_HZ)
        if is_test:
            with replacing(files[0].path.with_suffix(".txt")) as text:
                text.write("".join(f"{label}\t\n" for label in files[0].labels).encode())

    def _lead(
        self, rng: np.random.Generator, part: PartName, code: str, i: int, seconds: float
    ) -> Callable[[Voice], np.ndarray] | None:
        """Return what plays an instrument in recording i; None: the font."""

    def _music(
        self,
        rng: np.random.Generator,
        part: PartName,
        labels: Sequence[str],
        *,
        seconds: float,
        leads: Sequence[Callable[[Voice], np.ndarray]] = (),
    ) -> np.ndarray:
        """Return music in which `labels` are predominant, (samples,)."""
        fonts = self._fonts(part)
        for _ in range(ATTEMPTS):  # each another draw from the same stream
            piece = draw_piece(rng, seconds=seconds + LEAD_IN_SECONDS)
            player = partial(
                render,
                font=font_path(str(rng.choice(fonts))),
                seconds=piece.seconds,
                sample_rate_hz=SAMPLE_RATE_HZ,
                cents=int(rng.choice(CENTS)),
            )
            music = compose(rng, piece, labels)
            with contextlib.suppress(SilentLeadError):
                return perform(
                    rng,
                    music,
                    player,
                    sample_rate_hz=SAMPLE_RATE_HZ,
                    skipped_seconds=LEAD_IN_SECONDS,
                    leads=leads,
                    vibrato=part == "training",
                )
        key = "fonts" if part == "training" or self.test_fonts is None else "test_fonts"
        raise InputError(
            f"dataset.{key}={fonts} gave no sound of {' '.join(labels)} "
            f"in {ATTEMPTS} attempts; expected General MIDI SoundFonts"
        )


def font_path(font: str) -> Path:
    """Return where a font is, given by its path or as `TimGM6mb`; raise InputError without one."""
    path = Path(font).expanduser()
    if font == TIM_GM6MB and (spec := find_spec("pretty_midi")):
        path = Path(str(spec.origin)).with_name("TimGM6mb.sf2")
    if not path.is_file():
        raise InputError(
            f"no SoundFont at {font!r}; expected {TIM_GM6MB!r} or the path of a .sf2 or .sf3 file "
            f"(Debian's fluid-soundfont-gm installs {FLUID_R3})"
        )
    return path


def render(
    voices: Sequence[Voice], *, font: Path, seconds: float, sample_rate_hz: int, cents: int = 0
) -> np.ndarray:
    """Return the sound of some voices, (samples,) float32, tuned `cents` away from 440 Hz.

    A voice whose program the font lacks is silent. Raises InputError without font or synthesizer.
    """
    synth = _synthesizer(font, content_of(font), sample_rate_hz)
    for sounds in synth.soundfonts.values():
        sounds.reset()
    synth.generate(round(_SILENT_SECONDS * sample_rate_hz))  # what was played before fades out
    events = []
    for place, voice in enumerate(voices):
        channel = _DRUM_CHANNEL if voice.drums else place
        try:
            synth.program_select(channel, 0, 0, voice.program, is_drums=voice.drums)
        except RuntimeError:  # the font has no such program
            continue
        synth.set_tuning(channel, cents / 100)
        for note in voice.notes:
            ends = note.start + note.length
            events.append((round(note.start * sample_rate_hz), channel, note.key, note.velocity))
            events.append((round(ends * sample_rate_hz), channel, note.key, 0))
    events.sort(key=lambda event: (event[0], event[3] > 0))  # first the notes that end
    samples, now = round(seconds * sample_rate_hz), 0
    pieces = [np.zeros(0, np.float32)]
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
    return np.concatenate(pieces)


@lru_cache(maxsize=4)
def _synthesizer(font: Path, content: str, sample_rate_hz: int) -> Any:
    """Return a synthesizer that has read a font."""
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
