from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from irdream.datasets.base import (
    Excerpt,
    ExcerptFile,
    common_folder,
    fingerprint,
    fingerprint_of_sounds,
    tell_skipped,
)
from irdream.datasets.folder import Folder

RATE_HZ = 8000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three instruments, two sounds of 3 s each."""
    rng = np.random.default_rng(0)
    for code in ("cel", "flu", "voi"):
        (tmp_path / "tree" / code).mkdir(parents=True)
        for take in range(2):
            sound = 0.1 * rng.standard_normal(3 * RATE_HZ)
            soundfile.write(tmp_path / "tree" / code / f"{code}{take}.wav", sound, RATE_HZ)
    return tmp_path / "tree"


def files(root: Path) -> list[ExcerptFile]:
    return Folder(root=root).part("training", sample_rate_hz=RATE_HZ).files


def test_equal_sounds_have_one_fingerprint_wherever_they_lie(tree: Path, tmp_path: Path) -> None:
    there = Path(shutil.copytree(tree, tmp_path / "elsewhere" / "copy"))
    for path in there.rglob("*.wav"):
        os.utime(path, (0, 0))
    first = fingerprint(files(tree))
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert fingerprint(files(there)) == first
    assert fingerprint(reversed(files(tree))) == first


def rename(tree: Path) -> None:
    (tree / "cel" / "cel0.wav").rename(tree / "cel" / "other.wav")


def relabel(tree: Path) -> None:
    (tree / "cel" / "cel0.wav").rename(tree / "flu" / "cel0.wav")


def remove(tree: Path) -> None:
    (tree / "cel" / "cel0.wav").unlink()


def add(tree: Path) -> None:
    shutil.copy(tree / "cel" / "cel0.wav", tree / "cel" / "cel2.wav")


def swap(tree: Path) -> None:
    names = [tree / "cel" / name for name in ("cel0.wav", "cel1.wav", "x")]
    for old, new in ((0, 2), (1, 0), (2, 1)):
        names[old].rename(names[new])


def shorten(tree: Path) -> None:
    _rewrite(tree, lambda sound: sound[:-1])


def make_louder(tree: Path) -> None:
    _rewrite(tree, lambda sound: sound * 1.01)


def silence_the_middle(tree: Path) -> None:
    def change(sound: np.ndarray) -> np.ndarray:
        sound[len(sound) // 2 - 100 : len(sound) // 2 + 100] = 0.0
        return sound

    _rewrite(tree, change)


def change_a_sample_far_from_begin_middle_and_end(tree: Path) -> None:
    def change(sound: np.ndarray) -> np.ndarray:
        sound[len(sound) // 4] = 0.5
        return sound

    _rewrite(tree, change)


def silence_the_end(tree: Path) -> None:
    def change(sound: np.ndarray) -> np.ndarray:
        sound[-100:] = 0.0
        return sound

    _rewrite(tree, change)


def _rewrite(tree: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = tree / "voi" / "voi1.wav"
    sound, rate_hz = soundfile.read(path)
    soundfile.write(path, change(sound), rate_hz)


@pytest.mark.parametrize(
    "change",
    [
        rename,
        relabel,
        remove,
        add,
        swap,
        shorten,
        make_louder,
        silence_the_middle,
        change_a_sample_far_from_begin_middle_and_end,
        silence_the_end,
    ],
)
def test_another_set_has_another_fingerprint(tree: Path, change: Callable[[Path], None]) -> None:
    before = fingerprint(files(tree))
    change(tree)
    assert fingerprint(files(tree)) != before


def test_a_file_that_cannot_be_read_counts_by_its_name(tree: Path) -> None:
    whole = files(tree)
    missing = replace(whole[0], path=tree / "nowhere.wav")
    found = fingerprint([missing, *whole[1:]])
    assert found not in (fingerprint(whole), fingerprint(whole[1:]))


def test_decoded_sounds_have_a_fingerprint_of_every_sample() -> None:
    one = Excerpt(waveform=torch.linspace(-1, 1, 1000), labels=("flu",), name="one")
    two = Excerpt(waveform=torch.linspace(1, -1, 3000)[::3], labels=(), name="two")
    first = fingerprint_of_sounds([one, two])
    assert fingerprint_of_sounds([two, one]) == first
    changed = one.waveform.clone()
    changed[500] += 1e-6
    others = [replace(one, waveform=changed), replace(one, name="1"), replace(one, labels=("cel",))]
    assert len({first, *(fingerprint_of_sounds([other, two]) for other in others)}) == 4


def test_the_folder_of_all_files(tree: Path) -> None:
    assert common_folder(files(tree)) == str(tree)
    assert common_folder(files(tree)[:2]) == str(tree / "cel")
    assert common_folder([]) == ""


def test_what_is_skipped_is_told_with_the_first_reasons(caplog: pytest.LogCaptureFixture) -> None:
    tell_skipped([])
    assert not caplog.text
    tell_skipped([*(f"'{i}' is silent" for i in range(30)), "'0' is silent"])
    lines = caplog.messages[0].split("\n  ")
    assert lines[:2] == ["skipped 31 excerpts:", "'0' is silent"]
    assert lines[-2:] == ["'19' is silent", "and 10 more"]
