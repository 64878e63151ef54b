from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from irdream.files import replacing


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
    with pytest.raises(OSError, match="No space left"), replacing(tmp_path / "a.bin") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == []


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.bin") as file:
        file.write(b"x")
    ordinary = tmp_path / "b.bin"
    ordinary.write_bytes(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == ordinary.stat().st_mode
