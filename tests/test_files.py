import errno
import os
import re
import unicodedata
from pathlib import Path

import pytest

from irdream.files import as_text, distinct_names, replacing


def test_the_file_appears_with_all_its_bytes_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "a.bin"
    with pytest.raises(OSError, match="No space left") as caught, replacing(path) as file:
        file.write(b"x")
    assert caught.value.filename == str(path)
    assert os.listdir(tmp_path) == []


def test_an_error_of_the_system_names_the_file_and_no_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "nowhere" / "a.bin", tmp_path / "folder"):
        with pytest.raises(OSError, match=rf"'{path}'$"), replacing(path) as file:
            file.write(b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.bin") as file:
        file.write(b"x")
    ordinary = tmp_path / "b.bin"
    ordinary.write_bytes(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == ordinary.stat().st_mode


ALIKE = {
    "cut": [f"{'long ' * 30}{take}" for take in "ab"],
    "cut within letters": [f"{'長' * 40}{take}" for take in "ab"],
    "unusual": ["take #1", "take_1", "take 🎻1", "take/1", "take.1"],
    "case": ["Flute", "flute", "FLUTE"],
    "case of other letters": ["straße", "STRASSE"],
    "forms of unicode": ["é", "e\N{COMBINING ACUTE ACCENT}"],
    "nothing left": ["", "...", "🎻"],
    "no UTF-8": ["Fl\udcf6te", "Fl\udce9te"],
}


@pytest.mark.parametrize("texts", ALIKE.values(), ids=ALIKE)
def test_names_that_agree_are_told_apart(texts: list[str]) -> None:
    names = distinct_names(texts)
    folded = {unicodedata.normalize("NFD", name).casefold() for name in names}
    assert len(folded) == len(texts)
    assert distinct_names([*texts[::-1], "other"]) == [*names[::-1], "other"]
    assert all(len(name.encode()) < 100 for name in names)
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)


@pytest.mark.parametrize("name", ["NUL", "con.x", "-rf", "..", "~", "a\nb", "a\\b:c*?", "a" * 300])
def test_a_name_is_one_that_every_file_system_takes(name: str, tmp_path: Path) -> None:
    (safe,) = distinct_names([name])
    with replacing(tmp_path / f"{safe}-to-flu-original.wav") as file:
        file.write(b"x")
    assert not safe.startswith(("-", "."))
    assert not set(safe) & set('.<>:"/\\|?*\n')


def test_a_plain_name_stays_as_it_is() -> None:
    assert distinct_names(["Flöte_1-b", "x"]) == ["Flöte_1-b", "x"]


def test_a_file_of_a_long_name_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / f"{'長' * 83}.wav"  # 253 bytes of the 255 that may be
    with replacing(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


def test_bytes_that_are_no_utf_8_become_text() -> None:
    assert as_text("Fl\udcf6te/Flöte.wav") == "Fl\\xf6te/Flöte.wav"
    assert as_text(Path("a b")) == "a b"
