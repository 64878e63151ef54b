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
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from irdream.audio import write_wav
from irdream.datasets import composition
from irdream.datasets.base import Excerpts, PartName
from irdream.datasets.composition import Voice
from irdream.datasets.irmas import Irmas
from irdream.datasets.rendering import TIM_GM6MB, font_digest, font_path, level, render, room
from irdream.errors import InputError
from irdream.files import replacing
from irdream.instruments import CODES
from irdream.progress import track

ATTEMPTS = 20  # at a piece whose lead is heard
VERSION = 3  # raised when the same seed gives other sound
SAMPLE_RATE_HZ = 22_050
EXCERPT_SECONDS = 3.0
LEAD_IN_SECONDS = 0.5
LABELS_SHARE = (0.5, 0.35, 0.15)  # test excerpts with one, two and three labels
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

    def prepare(self) -> None:
        """Render both parts."""
        self._rendered("training")
        self._rendered("test")

    def folder(self, name: PartName) -> Path:
        """Return where a part is or will be; its name holds all that decides its sound."""
        fonts = [font_digest(font_path(font)) for font in self.fonts[name]]
        choice = [VERSION, fonts, self.seed, name, self.counts[name]]
        choice += [self.single_label] if name == "test" else []
        key = hashlib.sha256(json.dumps(choice).encode()).hexdigest()[:12]
        return self.base / f"{name}-{key}"

    def _rendered(self, name: PartName) -> Path:
        folder = self.folder(name)
        done = folder / "complete.json"
        if done.is_file():
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.base / f"{folder.name}.lock"):
            if not done.is_file():
                count = self.counts[name]
                write = self._write_training if name == "training" else self._write_test
                work = [(code, i) for code in CODES for i in range(count)]
                for code, i in track(work, f"rendering the {name} part", total=len(work)):
                    write(folder, code, i)
                with replacing(done) as file:
                    file.write(json.dumps({"fonts": self.fonts[name], "seed": self.seed}).encode())
        return folder

    def _write_training(self, folder: Path, code: str, i: int) -> None:
        """Render a recording and cut one to three excerpts from it."""
        rng = np.random.default_rng([self.seed, 0, CODES.index(code), i])
        count = int(rng.integers(1, 4))
        target = folder / "IRMAS-TrainingData" / code
        excerpt_samples = round(EXCERPT_SECONDS * SAMPLE_RATE_HZ)
        stem = f"[{code}][nod][pop_roc]{i:04d}"
        paths = [target / f"{stem}__{k + 1}.wav" for k in range(count)]
        if all(path.is_file() for path in paths):
            return
        target.mkdir(parents=True, exist_ok=True)
        piece = self._piece(rng, "training", (code,), seconds=count * EXCERPT_SECONDS)
        for k, path in enumerate(paths):
            excerpt = piece[k * excerpt_samples : (k + 1) * excerpt_samples]
            write_wav(path, torch.from_numpy(excerpt), sample_rate_hz=SAMPLE_RATE_HZ)

    def _write_test(self, folder: Path, code: str, i: int) -> None:
        """Render one test excerpt and its annotation."""
        rng = np.random.default_rng([self.seed, 1, CODES.index(code), i])
        count = 1 if self.single_label else 1 + int(rng.choice(3, p=LABELS_SHARE))
        others = [other for other in CODES if other != code]
        labels = (code, *rng.choice(others, size=count - 1, replace=False).tolist())
        target = folder / "IRMAS-TestingData-Part1" / "Part1"
        path = target / f"{code}-{i:04d}.wav"
        if path.with_suffix(".txt").is_file():
            return
        target.mkdir(parents=True, exist_ok=True)
        piece = self._piece(rng, "test", labels, seconds=float(rng.uniform(5.0, 12.0)))
        write_wav(path, torch.from_numpy(piece), sample_rate_hz=SAMPLE_RATE_HZ)
        with replacing(path.with_suffix(".txt")) as file:
            file.write("".join(f"{label}\t\n" for label in labels).encode())

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
