"""A tree of IRMAS's size and kind, without its sounds.

Rendered music, written as IRMAS is: 44.1 kHz, stereo, 16 bit, 3 s to train on (132,299 frames) and
5 to 20 s to test on, its folders, names and share of each instrument. A few excerpts of each
instrument are rendered; the others repeat them with other gains of the two channels, which costs
reading as much as music of their own would. Nothing can be learned from scores on it.

All of it takes 10 GB of disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from irdream.audio import load_audio
from irdream.datasets.base import PartName
from irdream.datasets.irmas import OFFICIAL_TEST_EXCERPTS, OFFICIAL_TRAINING
from irdream.datasets.soundfont import SoundFont
from irdream.progress import track

RATE_HZ = 44_100
EXCERPT_FRAMES = 132_299
TEST_SECONDS = (5.0, 20.0)
RECORDINGS, RENDERED_TEST_EXCERPTS = 4, 3  # rendered, of each instrument

TRAINING_EXCERPTS = sum(OFFICIAL_TRAINING.values())
TEST_EXCERPTS = OFFICIAL_TEST_EXCERPTS


def make(root: Path, *, excerpts: int, test_excerpts: int, seed: int = 0) -> None:
    """Write the tree.

    Args:
        root: of the tree; a folder beside it gets the rendered music.
        excerpts: to train on, about; each instrument has two at least, as a split needs.
        test_excerpts: to test on.
        seed: of the music and the gains.
    """
    rendered = SoundFont(
        root=root.with_name(f"{root.name}-rendered"),
        training_recordings=RECORDINGS,
        test_excerpts=RENDERED_TEST_EXCERPTS,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    names = list(_training_names(excerpts))
    sounds = _sounds(rendered, "training")
    for code, name in track(names, "writing the training part", total=len(names)):
        path = root / "IRMAS-TrainingData" / code / name
        _write(path, _drawn(rng, sounds[code,], EXCERPT_FRAMES), rng)
    sounds = _sounds(rendered, "test")
    choices = list(sounds)
    for i in track(range(test_excerpts), "writing the test part", total=test_excerpts):
        labels = choices[i % len(choices)]
        path = root / "IRMAS-TestingData-Part1" / "Part1" / f"{i:04d}.wav"
        frames = round(rng.uniform(*TEST_SECONDS) * RATE_HZ)
        _write(path, _drawn(rng, sounds[labels], frames), rng)
        path.with_suffix(".txt").write_text("".join(f"{label}\t\n" for label in labels))


def _training_names(excerpts: int) -> Iterator[tuple[str, str]]:
    """Yield instruments and names, three of a recording, in the proportions of IRMAS."""
    for code, count in OFFICIAL_TRAINING.items():
        for i in range(max(4, round(count * excerpts / TRAINING_EXCERPTS))):
            yield code, f"[{code}][nod][pop_roc]{i // 3:04d}__{i % 3 + 1}.wav"


def _sounds(rendered: SoundFont, part: PartName) -> dict[tuple[str, ...], list[np.ndarray]]:
    """Return rendered excerpts by their labels, mono at 44.1 kHz."""
    found: dict[tuple[str, ...], list[np.ndarray]] = {}
    for file in rendered.part(part, sample_rate_hz=RATE_HZ).files:
        sound = load_audio(file.path, sample_rate_hz=RATE_HZ).numpy()
        found.setdefault(file.labels, []).append(sound)
    return found


def _drawn(rng: np.random.Generator, sounds: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """Return one of some sounds, repeated until it is long enough, (frames,)."""
    return np.resize(sounds[int(rng.integers(len(sounds)))], frames)


def _write(path: Path, sound: np.ndarray, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    gains = rng.uniform(0.1, 0.95, size=2).astype(np.float32)
    pcm = (sound[:, None] * (gains * 32767)).astype(np.int16)
    soundfile.write(path, pcm, RATE_HZ, subtype="PCM_16")
