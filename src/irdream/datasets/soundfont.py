"""The embedded data set: rendered music in the folder tree of IRMAS.

Each recording is a short piece (composition.py) rendered by one SoundFont (rendering.py):
one predominant instrument for training, one to three for the test part, with a backing of
none to three of bass, pad and drums. One to three training excerpts of 3 s are cut from a
recording, as in IRMAS; test excerpts last 5 to 12 s. The files stand in the very tree of
IRMAS, so that one loader reads both.

Deterministic: recording i of a part depends on the seed, the fonts and i alone. Rendering
takes about 5 ms an excerpt, once; each part is rendered when it is first asked for, under
a lock, and a killed rendering goes on where it was.

Scores on the fonts of training say little about another font and less about recorded
music: never present them as scores on IRMAS.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from irdream.audio import write_wav
from irdream.contents import content_of
from irdream.datasets import composition, rendering
from irdream.datasets.base import ExcerptFile, Excerpts, PartName
from irdream.datasets.composition import Voice
from irdream.datasets.irmas import Irmas
from irdream.datasets.rendering import TIM_GM6MB, font_path, level, render, room
from irdream.errors import InputError
from irdream.files import replacing
from irdream.fingerprint import fingerprint_of
from irdream.instruments import CODES
from irdream.progress import track

ATTEMPTS = 20  # at a piece whose lead is heard
SAMPLE_RATE_HZ = 22_050
EXCERPT_SECONDS = 3.0
LEAD_IN_SECONDS = 0.5
LABELS_SHARE = (0.5, 0.35, 0.15)  # test excerpts with one, two and three labels
_PARTS: tuple[PartName, PartName] = ("training", "test")
CENTS = (-30, -20, -10, 0, 10, 20, 30)


class _SilentLeadError(RuntimeError):
    """The font lacks the instrument, or the only note comes after the end."""


class SoundFont:
    """Rendered excerpts of the eleven instruments.

    Args:
        root: the cache folder; each choice of the arguments below gets a folder of its own.
        fonts: `TimGM6mb`, which pip installs, or paths of .sf2 and .sf3 files; one or a list.
        test_fonts: of the test part, so that it is played by fonts that were not trained on;
            None: the same.
        training_recordings: for each instrument; each gives one to three excerpts.
        test_excerpts: for each instrument as the first label.
        single_label: give every test excerpt one label only.
        seed: of the music.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        fonts: str | Sequence[str] = (TIM_GM6MB,),
        test_fonts: str | Sequence[str] | None = None,
        training_recordings: int = 60,
        test_excerpts: int = 10,
        single_label: bool = False,
        seed: int = 0,
        cache_dir: str | Path | None = None,
        name: str = "soundfont",
    ) -> None:
        trained = _listed("fonts", fonts)
        tested = trained if test_fonts is None else _listed("test_fonts", test_fonts)
        for key, count in (
            ("training_recordings", training_recordings),
            ("test_excerpts", test_excerpts),
        ):
            if count < 1:
                raise InputError(f"dataset.{key}={count}; expected at least 1")
        if seed < 0:
            raise InputError(f"dataset.seed={seed}; expected 0 or more")
        self.fonts = {"training": trained, "test": tested}
        self.keys = {"training": "fonts", "test": "fonts" if test_fonts is None else "test_fonts"}
        self.seed, self.single_label = seed, single_label
        self.counts = {"training": training_recordings, "test": test_excerpts}
        self.cache_dir, self.name = cache_dir, name
        self.base = Path(root).expanduser()
        self.about = f"music rendered by {_stems(trained)}"
        if trained != tested:
            self.about += f", for the test by {_stems(tested)}"

    def part(self, name: PartName, *, sample_rate_hz: int) -> Excerpts:
        """Return one part, rendered first when it is not in the cache."""
        tree = Irmas(
            root=self._rendered(name),
            cache_dir=self.cache_dir,
            official_counts=False,
            name=self.name,
        )
        return tree.part(name, sample_rate_hz=sample_rate_hz)

    def is_rendered(self, name: PartName) -> bool:
        """Say whether a part is in the cache."""
        return (self.folder(name) / "complete.json").is_file()

    def to_prepare(self) -> str:
        """Say what `prepare` would do; nothing where it is done."""
        parts = [f"the {name} part" for name in _PARTS if not self.is_rendered(name)]
        return f"renders {' and '.join(parts)} into {self.base}" if parts else ""

    def prepare(self) -> None:
        """Render both parts."""
        for name in _PARTS:
            self._rendered(name)

    def folder(self, name: PartName) -> Path:
        """Return where a part is or will be; its name holds all that decides its sound."""
        code = [content_of(file) for file in (__file__, composition.__file__, rendering.__file__)]
        fonts = [content_of(font_path(font)) for font in self.fonts[name]]
        choice = [code, fonts, self.seed, name, self.counts[name]]
        choice += [self.single_label] if name == "test" else []
        return self.base / f"{name}-{fingerprint_of(choice)[:12]}"

    def _rendered(self, name: PartName) -> Path:
        folder = self.folder(name)
        if self.is_rendered(name):
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.base / f"{folder.name}.lock"):
            if not self.is_rendered(name):
                work = [(code, i) for code in CODES for i in range(self.counts[name])]
                for code, i in track(work, f"rendering the {name} part", total=len(work)):
                    self._write(name, code, i)
                with replacing(folder / "complete.json") as file:
                    file.write(json.dumps({"fonts": self.fonts[name], "seed": self.seed}).encode())
        return folder

    def listed(self, name: PartName) -> list[ExcerptFile]:
        """Return the files of one part, rendered or not."""
        drawn = [self._drawn(name, code, i)[1] for code in CODES for i in range(self.counts[name])]
        return [file for files in drawn for file in files]

    def _drawn(
        self, name: PartName, code: str, i: int
    ) -> tuple[np.random.Generator, list[ExcerptFile]]:
        """Return the files of a recording, and the generator that its music is drawn from.

        One to three excerpts are cut from one for training; one for the test has one to three
        labels.
        """
        is_test = name == "test"
        rng = np.random.default_rng([self.seed, int(is_test), CODES.index(code), i])
        if is_test:
            count = 1 if self.single_label else 1 + int(rng.choice(3, p=LABELS_SHARE))
            others = [other for other in CODES if other != code]
            labels = (code, *rng.choice(others, size=count - 1, replace=False).tolist())
            recording, stems = f"{code}-{i:04d}", [f"{code}-{i:04d}"]
            folder = self.folder(name) / "IRMAS-TestingData-Part1" / "Part1"
        else:
            labels, stem = (code,), f"[{code}][nod][pop_roc]{i:04d}"
            recording = f"{code}/{stem}"
            stems = [f"{stem}__{k + 1}" for k in range(int(rng.integers(1, 4)))]
            folder = self.folder(name) / "IRMAS-TrainingData" / code
        return rng, [
            ExcerptFile(path=folder / f"{stem}.wav", name=stem, labels=labels, recording=recording)
            for stem in stems
        ]

    def _write(self, name: PartName, code: str, i: int) -> None:
        """Render a recording, unless its files are there; the annotation comes last."""
        rng, files = self._drawn(name, code, i)
        suffix = ".txt" if name == "test" else ".wav"
        if all(file.path.with_suffix(suffix).is_file() for file in files):
            return
        files[0].path.parent.mkdir(parents=True, exist_ok=True)
        if name == "training":
            seconds = len(files) * EXCERPT_SECONDS
        else:
            seconds = float(rng.uniform(5.0, 12.0))
        piece = self._piece(rng, name, files[0].labels, seconds=seconds)
        for file, sound in zip(files, np.array_split(piece, len(files)), strict=True):
            write_wav(file.path, torch.from_numpy(sound), sample_rate_hz=SAMPLE_RATE_HZ)
        if name == "test":
            with replacing(files[0].path.with_suffix(".txt")) as text:
                text.write("".join(f"{label}\t\n" for label in files[0].labels).encode())

    def _piece(
        self, rng: np.random.Generator, part: PartName, labels: Sequence[str], *, seconds: float
    ) -> np.ndarray:
        """Return music in which `labels` are predominant, (samples,), at a random level."""
        for _ in range(ATTEMPTS):  # each another draw from the same stream
            with contextlib.suppress(_SilentLeadError):
                return self._draw(rng, part, labels, seconds=seconds)
        raise InputError(
            f"dataset.{self.keys[part]}={self.fonts[part]} gave no sound of {' '.join(labels)} "
            f"in {ATTEMPTS} attempts; expected General MIDI SoundFonts"
        )

    def _draw(
        self,
        rng: np.random.Generator,
        part: PartName,
        labels: Sequence[str],
        *,
        seconds: float,
    ) -> np.ndarray:
        piece = composition.draw_piece(rng, seconds=seconds + LEAD_IN_SECONDS)
        font = font_path(str(rng.choice(self.fonts[part])))
        cents = int(rng.choice(CENTS))
        sound = partial(
            render,
            font=font,
            seconds=seconds + LEAD_IN_SECONDS,
            cents=cents,
            sample_rate_hz=SAMPLE_RATE_HZ,
        )
        mix = np.zeros(0, dtype=np.float32)
        for label in labels:
            lead = sound([composition.lead(rng, label, piece)])
            if not lead.any():
                raise _SilentLeadError(f"no sound of {label} in {font.name}")
            mix = _add(mix, lead, db=rng.uniform(-4, 0))
        voices: list[Voice] = composition.backing(rng, piece)
        if voices:
            mix = _add(mix, sound(voices), db=rng.uniform(-24.0, -3.0))
        mix = room(rng, mix, sample_rate_hz=SAMPLE_RATE_HZ)
        mix = mix[round(LEAD_IN_SECONDS * SAMPLE_RATE_HZ) :]
        peak = np.abs(mix).max()
        return mix * np.float32(10 ** (rng.uniform(-20.0, -0.5) / 20) / peak) if peak > 0 else mix


def _listed(key: str, fonts: str | Sequence[str]) -> list[str]:
    if not fonts:
        raise InputError(f"dataset.{key} is empty; expected a list such as [{TIM_GM6MB}]")
    return [fonts] if isinstance(fonts, str) else [str(font) for font in fonts]


def _stems(fonts: Sequence[str]) -> str:
    return ", ".join(Path(font).stem for font in fonts)


def _add(mix: np.ndarray, voice: np.ndarray, *, db: float) -> np.ndarray:
    """Add a voice at a level in dB against full scale, before any room."""
    loud = level(voice)
    voice = voice * (10 ** (db / 20) / loud) if loud > 0 else voice
    return voice.astype(np.float32) if not len(mix) else mix + voice.astype(np.float32)
