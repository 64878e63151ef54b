"""Unpack a zip that came from elsewhere: all of it or nothing, and nothing outside its folder.

zipfile's own `extractall` quietly renames what it finds unsafe; here such an archive is
refused as a whole, before anything is written, since its checksum then says nothing good.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from irdream.errors import InputError
from irdream.progress import byte_bar

# NotImplementedError and RuntimeError: unknown compression, a password.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` so that its files are in `folder`, whose own name it may lead with.

    Files that are there already in the right size are kept.

    Raises:
        InputError: no zip or a broken one, encrypted, unsafe names, links, or more than
            fits on the disk; `folder` is then as before.
    """
    temporary = folder.with_name(f".unpack-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed attempt
    try:
        temporary.mkdir(parents=True)
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if not info.is_dir()]
            _check(archive, members, free_bytes=shutil.disk_usage(temporary).free)
            _extract(opened, members, temporary)
        inner = temporary / folder.name
        _move(inner if inner.is_dir() else temporary, folder)
    except _BROKEN as error:
        raise InputError(f"cannot unpack {str(archive)!r}: {error}; fetch it again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(archive: Path, members: list[zipfile.ZipInfo], *, free_bytes: int) -> None:
    for info in members:
        if _is_unsafe(info):
            unsafe = f"its member {info.filename!r} would leave the folder or is a link"
            raise InputError(f"{str(archive)!r} is not safe to unpack: {unsafe}; do not use it")
    needed_bytes = sum(info.file_size for info in members)
    if needed_bytes > free_bytes:
        space = f"{needed_bytes / 1e9:.1f} GB needed, {free_bytes / 1e9:.1f} GB free"
        raise InputError(f"cannot unpack {str(archive)!r}: {space}; make room on the disk")


def _is_unsafe(info: zipfile.ZipInfo) -> bool:
    name, kind = info.filename, stat.S_IFMT(info.external_attr >> 16)
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":"
    return leaves or kind not in (0, stat.S_IFREG)


def _extract(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> None:
    with byte_bar() as bar:
        task = bar.add_task("unpacking", total=sum(info.file_size for info in members))
        for info in members:
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(info) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
            bar.advance(task, info.file_size)


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
