import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irdream.audio import audio_files
from irdream.errors import InputError


def touch(root: Path, *names: str, data: bytes = b"") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


@pytest.fixture
def no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def refuse_listing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """No permission to list folders whose path ends so."""
    scandir = os.scandir

    def refuse(end: str) -> None:
        def listed(path: str) -> Any:
            if str(path).endswith(end):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", listed)

    return refuse


def test_a_folder_is_all_sounds_below_it_sorted_and_a_file_itself(tmp_path: Path) -> None:
    names = ["b/2.FLAC", "a.ogg", "b/1.wav", "c.mp3", "notes.txt", ".hidden.wav", "._c.mp3"]
    touch(tmp_path, *names, ".git/x.wav", "__MACOSX/a.wav")
    found = [path.relative_to(tmp_path).as_posix() for path in audio_files(tmp_path)]
    assert found == ["a.ogg", "b/1.wav", "b/2.FLAC", "c.mp3"]
    assert audio_files(tmp_path / "a.ogg") == [tmp_path / "a.ogg"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    touch(elsewhere, "a.wav")
    root.mkdir()
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    assert audio_files(root) == [root / "linked" / "a.wav"]
    touch(root, "b/b.wav")
    (root / "again").symlink_to(root / "b")  # before it, and yet not in its place
    assert audio_files(root) == [root / "b" / "b.wav", root / "linked" / "a.wav"]


def test_a_pipe_is_left_out_and_a_broken_link_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a.wav", "sub/b.txt")
    os.mkfifo(tmp_path / "sub" / "pipe.wav")
    (tmp_path / "c.wav").symlink_to(tmp_path / "gone.wav")  # reading it says what is wrong
    assert audio_files(tmp_path) == [tmp_path / "a.wav", tmp_path / "c.wav"]
    assert "1 no file, such as a pipe (sub/pipe.wav)" in caplog.text


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file or folder: '.*x'; check the path"):
        audio_files(tmp_path / "x")
    with pytest.raises(InputError, match=r"no sound file below .*; expected wav, flac, ogg, mp3"):
        audio_files(tmp_path)


def test_a_folder_that_cannot_be_listed(
    tmp_path: Path, refuse_listing: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a.wav", "closed/b.wav")
    refuse_listing("closed")
    assert audio_files(tmp_path) == [tmp_path / "a.wav"]
    assert "1 that cannot be listed: Permission denied (closed)" in caplog.text
    with pytest.raises(InputError, match=r"cannot list .*: Permission denied; check its perm"):
        audio_files(tmp_path / "closed")


@pytest.mark.usefixtures("no_ffmpeg")
def test_what_is_left_out_is_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "mine"
    touch(root, "a.wav", "b/b.m4a", "c.WMA", ".d.wav", "._e.wav", "notes.txt", "cover.jpg", "x.y")
    touch(root, "take", data=b"RIFF\0\0\0\0WAVE")
    touch(root, *(f"{i}.aac" for i in range(3)))
    assert audio_files(root) == [root / "a.wav"]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"left out below {root}: 1 hidden (.d.wav); "
        "5 that the program ffmpeg would read, which is not installed "
        "(0.aac, 1.aac, 2.aac and 2 more); 1 of unknown endings that begin like sound (take)"
    )


def test_with_ffmpeg_more_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "bin/ffmpeg", "in/a.wav", "in/b.m4a")
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert [path.name for path in audio_files(tmp_path / "in")] == ["a.wav", "b.m4a"]
    assert not caplog.text


def test_names_that_are_no_utf_8_are_shown_as_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "F\udcf6lder"
    touch(root, "Fl\udcf6te.wav", ".Fl\udcf6te.wav")
    assert audio_files(root) == [root / "Fl\udcf6te.wav"]
    assert caplog.messages[0].endswith("F\\xf6lder: 1 hidden (.Fl\\xf6te.wav)")
