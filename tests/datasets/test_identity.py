"""When files and data sets are the same."""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irdream.datasets.base import Excerpt, ExcerptFile
from irdream.datasets.folder import Folder
from irdream.datasets.identity import (
    Split,
    equal_files,
    fingerprint,
    fingerprint_of_sounds,
    log_files,
    recordings_of,
    split_excerpts,
    unique_names,
)
from irdream.errors import InputError
from tests.tiny import RATE_HZ, Notebook, write_noise


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three instruments, two sounds of 3 s each."""
    for seed, name in enumerate(("cel0", "cel1", "flu0", "flu1", "voi0", "voi1")):
        write_noise(tmp_path / "tree" / name[:3] / f"{name}.wav", seed=seed, seconds=3.0)
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


def swap(tree: Path) -> None:
    one, other, third = (tree / "cel" / name for name in ("cel0.wav", "cel1.wav", "x"))
    one.rename(third)
    other.rename(one)
    third.rename(other)


def with_another_sample(tree: Path) -> None:
    sound, rate_hz = soundfile.read(tree / "voi" / "voi1.wav")
    sound[6_000] = 0.5
    soundfile.write(tree / "voi" / "voi1.wav", sound, rate_hz)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "cel" / "cel0.wav").rename(tree / "cel" / "other.wav"),
        lambda tree: (tree / "cel" / "cel0.wav").rename(tree / "flu" / "cel0.wav"),
        lambda tree: (tree / "cel" / "cel0.wav").unlink(),
        lambda tree: shutil.copy(tree / "cel" / "cel0.wav", tree / "cel" / "cel2.wav"),
        swap,
        with_another_sample,
    ],
    ids=["renamed", "label", "removed", "added", "swapped", "a sample"],
)
def test_another_set_has_another_fingerprint(tree: Path, change: Callable[[Path], Any]) -> None:
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


def test_a_run_keeps_the_folder_of_all_files(tree: Path) -> None:
    kept = Notebook()
    for some in (files(tree), files(tree)[:2], []):
        log_files(kept, "mine", some, context="test")
    assert [about["source"] for *_, about in kept.data] == [str(tree), str(tree / "cel"), ""]
    expected = {"context": "test", "source": str(tree), "excerpts": 6}
    assert kept.data[0] == ("mine", fingerprint(files(tree)), expected)


# Files in a tree


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_equal_files_are_found_by_content_alone(tmp_path: Path) -> None:
    long = bytes(range(256)) * 64
    same = [write(tmp_path / name, long) for name in ("a.wav", "sub/b.wav", "c.wav")]
    other_end = write(tmp_path / "d.wav", long[:-1] + b"x")
    other_middle = write(tmp_path / "e.wav", long[:8192] + b"xx" + long[8194:])
    shorter = write(tmp_path / "f.wav", long[:-1])
    pair = [write(tmp_path / name, b"pair") for name in ("g.wav", "h.wav")]
    dangling = tmp_path / "i.wav"
    dangling.symlink_to(tmp_path / "gone.wav")
    some = [dangling, *same, other_end, other_middle, shorter, *pair]
    assert sorted(equal_files(some)) == sorted([tuple(same), tuple(pair)])


def test_excerpts_of_a_recording_stay_together() -> None:
    names = ["[cel][cla]0001__1", "[cel][cla]0001__2", "[cel][cla]0001__12", "[cel][cla]0002__1"]
    recordings = recordings_of([Path("cel", f"{name}.wav") for name in names], [])
    assert recordings == ["cel/[cel][cla]0001"] * 3 + ["cel/[cel][cla]0002"]


def test_an_equal_file_joins_whole_recordings_through_others_too() -> None:
    paths = [Path("x", f"{name}__{k}.wav") for name in "abcd" for k in (1, 2)]
    a1, _, b1, b2, c1, _, _, _ = paths
    recordings = recordings_of(paths, [(c1, b1), (b2, a1)])
    assert len(set(recordings[:6])) == 1
    assert set(recordings[6:]) == {"x/d"}


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.wav", "b/x.wav", "b/y.wav", "c/b/x.wav"], ["a-x", "b-x", "y", "b-x~2"]),
        (
            ["b/x~2.wav", "b/x.wav", "c/b/x.flac", "b-x.wav", "b-x~2.mp3"],
            ["x~2", "b-x", "b-x~2", "b-x~3", "b-x~2~2"],
        ),
        (
            ["f\udcf6/Fl\udcf6te.wav", "f\udcf6/Fl\udce9te.wav", "f\udcf6/Fl\\xf6te.wav"],
            ["Fl\\xf6te", "Fl\\xe9te", "Fl\\xf6te~2"],
        ),
    ],
    ids=["equal stems", "stems like those made unique", "no UTF-8"],
)
def test_names_are_stems_made_unique_by_folder_and_number(paths, names) -> None:
    odd = [Path(path) for path in paths]
    assert unique_names(odd) == names
    "".join([*names, *recordings_of(odd, [])]).encode()  # all can be written


# Training and validation


def split(
    files: list[ExcerptFile], share: float = 0.15, seed: int = 0, by: Split = "recording"
) -> tuple[list[int], list[int]]:
    return split_excerpts(files, by, validation_share=share, seed=seed)


def files_of(recordings: list[tuple[tuple[str, ...], int]]) -> list[ExcerptFile]:
    """One recording per (labels, number of excerpts)."""
    return [
        ExcerptFile(path=Path(f"{r}__{k}.wav"), name=f"{r}__{k}", labels=labels, recording=f"{r}")
        for r, (labels, count) in enumerate(recordings)
        for k in range(count)
    ]


def label_counts(files: list[ExcerptFile], indices: list[int]) -> Counter[str]:
    return Counter(label for i in indices for label in files[i].labels)


def irmas_like() -> list[ExcerptFile]:
    counts = (("cel", 120), ("flu", 150), ("voi", 260))
    return files_of([((label,), 1 + r % 5) for label, count in counts for r in range(count)])


@pytest.mark.parametrize("share", [0.15, 0.8])
def test_each_label_gets_its_share(share: float) -> None:
    files = irmas_like()
    _, validation = split(files, share, seed=3)
    totals = Counter(file.labels[0] for file in files)
    for label, count in label_counts(files, validation).items():
        assert count == pytest.approx(share * totals[label], abs=5)  # one recording
    assert len(validation) == pytest.approx(share * len(files), abs=2.5)


@pytest.mark.parametrize("by", ["recording", "excerpt"])
def test_a_split_follows_from_the_names_and_the_seed(by: Split) -> None:
    files = irmas_like()
    first = split(files, seed=1, by=by)
    assert split(files, seed=1, by=by) == first
    assert split(files, seed=2, by=by) != first
    _, mirrored = split(files[::-1], seed=1, by=by)
    assert {files[i].name for i in first[1]} == {files[::-1][i].name for i in mirrored}


def test_a_split_by_excerpt_has_the_share_and_separates_recordings() -> None:
    files = files_of([(("flu",), 3)] * 40)
    training, validation = split(files, by="excerpt")
    assert sorted(training + validation) == list(range(120))
    assert len(validation) == 18
    recordings = [{files[i].recording for i in some} for some in (training, validation)]
    assert len(recordings[0] & recordings[1]) > 10
    assert [len(some) for some in split(files[:2], 0.9, by="excerpt")] == [1, 1]


def test_a_label_with_one_recording_stays_in_training() -> None:
    files = files_of([(("cel",), 2), *[(("flu",), 2)] * 6, *[(("cla", "voi"), 1)] * 6])
    for seed in range(20):
        training, _ = split(files, 0.5, seed)
        assert set(label_counts(files, training)) == {"cel", "flu", "cla", "voi"}


@settings(deadline=None)
@given(
    recordings=st.lists(
        st.tuples(
            st.sets(st.sampled_from(["cel", "flu", "pia", "voi"])).map(lambda s: tuple(sorted(s))),
            st.integers(1, 4),
        ),
        min_size=2,
        max_size=30,
    ),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 100),
)
def test_a_split_covers_all_and_separates_no_recording(recordings, share, seed) -> None:
    files = files_of(recordings)
    training, validation = split(files, share, seed)
    assert sorted(training + validation) == list(range(len(files)))
    assert training
    assert validation
    assert not {files[i].recording for i in training} & {files[i].recording for i in validation}


@pytest.mark.parametrize(
    ("recordings", "share", "by", "message"),
    [
        (9, 0, "recording", "validation_share=0; expected a number between 0 and 1"),
        (9, 1.0, "excerpt", "validation_share=1.0; expected a number between 0 and 1"),
        (0, 0.15, "recording", r"found 0 recordings; .* needs at least 2"),
        (1, 0.15, "recording", r"found 1 recordings; .* needs at least 2"),
        (0, 0.5, "excerpt", "found 0 recordings"),
        (9, 0.15, "artist", "by=artist; expected recording or source or excerpt"),
    ],
)  # fmt: skip
def test_what_cannot_be_split(recordings: int, share: float, by: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split(files_of([(("cel",), 3)] * recordings), share, by=by)
