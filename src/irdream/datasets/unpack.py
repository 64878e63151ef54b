"""Unpack a zip or a .tgz from elsewhere: all of it or nothing, and nothing outside its folder.

`extractall` quietly renames what it finds unsafe; here such an archive is refused as a whole,
since its checksum then says nothing good. A .tgz is read once, from its start to its end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from irdream.errors import InputError
from irdream.progress import byte_bar

# NotImplementedError and RuntimeError: unknown compression, a password.
_BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError),
    *(NotImplementedError, RuntimeError),
)


class _Member(NamedTuple):
    name: str
    is_plain: bool  # neither a link nor a device
    size_bytes: int
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, *, leave_out: Collection[str] = ()) -> None:
    """Unpack `archive` so that its files are in `folder`, whose own name it may lead with.

    Files that are there already in the right size are kept; hidden files are left out.

    Args:
        archive: a .zip or a .tgz.
        folder: made when it is missing.
        leave_out: names of folders in the archive that are not wanted.

    Raises:
        InputError: no archive or a broken one, encrypted, unsafe names, links, or a zip with
            more than fits on the disk; `folder` is then as before.
    """
    temporary = folder.with_name(f".unpack-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed attempt
    try:
        temporary.mkdir(parents=True)
        with _opened(archive) as (members, total_bytes):
            _extract(archive, members, temporary, total_bytes, leave_out)
        inner = temporary / folder.name
        _move(inner if inner.is_dir() else temporary, folder)
    except _BROKEN as error:
        raise InputError(f"cannot unpack {str(archive)!r}: {error}; fetch it again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterable[_Member], int | None]]:
    """Yield the members that are no folders, and their size as far as it is known."""
    if not zipfile.is_zipfile(archive):
        with tarfile.open(archive, "r|gz") as tar:
            yield (
                (
                    _Member(info.name, info.isreg(), info.size, partial(tar.extractfile, info))
                    for info in tar
                    if not info.isdir()
                ),
                None,
            )
        return
    with zipfile.ZipFile(archive) as opened:
        members = [
            _Member(info.filename, _is_plain(info), info.file_size, partial(opened.open, info))
            for info in opened.infolist()
            if not info.is_dir()
        ]
        needed_bytes = sum(member.size_bytes for member in members)
        free_bytes = shutil.disk_usage(archive.parent).free
        if needed_bytes > free_bytes:
            space = f"{needed_bytes / 1e9:.1f} GB needed, {free_bytes / 1e9:.1f} GB free"
            raise InputError(f"cannot unpack {str(archive)!r}: {space}; make room on the disk")
        yield members, needed_bytes


def _is_plain(info: zipfile.ZipInfo) -> bool:
    return stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)


def _extract(
    archive: Path,
    members: Iterable[_Member],
    folder: Path,
    total_bytes: int | None,
    leave_out: Collection[str],
) -> None:
    with byte_bar() as bar:
        task = bar.add_task("unpacking", total=total_bytes)
        for member in members:
            path = PurePosixPath(member.name)
            leaves = path.is_absolute() or ".." in path.parts or set("\\:") & set(member.name)
            if leaves or not member.is_plain:
                unsafe = f"its member {member.name!r} would leave the folder or is a link"
                raise InputError(f"{str(archive)!r} is not safe to unpack: {unsafe}; do not use it")
            if not path.name.startswith(".") and not set(leave_out) & set(path.parts):
                _write(member, folder / path)
            bar.advance(task, member.size_bytes)


def _write(member: _Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    assert source is not None  # a plain file has contents
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 2**20)


def _move(source: Path, folder: Path) -> None:
    if not folder.exists():
        os.replace(source, folder)
        return
    for path in sorted(source.rglob("*")):
        target = folder / path.relative_to(source)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif not target.is_file() or target.stat().st_size != path.stat().st_size:
            shutil.move(path, target)
