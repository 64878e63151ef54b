from __future__ import annotations

import hashlib
from pathlib import Path

from irdream.datasets.duplicates import equal_files, md5_of, recordings_of, unique_names


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
    files = [*same, other_end, other_middle, shorter, *pair]
    assert sorted(equal_files(files)) == sorted([tuple(same), tuple(pair)])


def test_a_file_that_cannot_be_read_equals_none(tmp_path: Path) -> None:
    pair = [write(tmp_path / name, b"pair") for name in ("a.wav", "b.wav")]
    dangling = tmp_path / "c.wav"
    dangling.symlink_to(tmp_path / "gone.wav")
    assert equal_files([dangling, *pair]) == [tuple(pair)]


def test_md5_is_that_of_hashlib(tmp_path: Path) -> None:
    data = b"x" * (2**20 + 17)
    assert md5_of(write(tmp_path / "a", data)) == hashlib.md5(data).hexdigest()


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


def test_names_are_stems_made_unique_by_folder_and_number() -> None:
    paths = [Path(name) for name in ("a/x.wav", "b/x.wav", "b/y.wav", "c/b/x.wav")]
    assert unique_names(paths) == ["a-x", "b-x", "y", "b-x~2"]


def test_names_stay_unique_where_one_looks_like_another_made_unique() -> None:
    paths = [Path(name) for name in ("b/x~2.wav", "b/x.wav", "c/b/x.flac", "b-x.wav", "b-x~2.mp3")]
    names = unique_names(paths)
    assert len(set(names)) == 5
    assert names[:2] == ["x~2", "b-x"]


def test_names_that_are_no_utf_8_become_text_and_stay_unique() -> None:
    odd = [Path("f\udcf6lder", f"Fl{letter}te.wav") for letter in ("\udcf6", "\udce9", "\\xf6")]
    names = unique_names(odd)
    assert names == ["Fl\\xf6te", "Fl\\xe9te", "Fl\\xf6te~2"]
    assert [*names, *recordings_of(odd, [])] == [
        text.encode().decode() for text in (*names, *recordings_of(odd, []))
    ]
