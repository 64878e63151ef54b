"""Fetch OpenMIC-2018 from Zenodo and unpack it, so that a broken attempt can be repeated.

One archive of 2.6 GB, resumed where the server allows it, checked by its MD5, and unpacked
without the features of vggish/, which nothing here reads. An archive that lies in the root
already (fetched by hand) is used and kept. As with a zip, names that leave the folder, and
links, are refused, and nothing of such an archive stays.
"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from irdream.audio import sounds_below
from irdream.datasets.download import fetch, locked
from irdream.datasets.openmic_labels import find_tree
from irdream.datasets.tree import md5_of
from irdream.errors import InputError

ARCHIVE = "openmic-2018-v1.0.0.tgz"
MD5 = "e4ccf187e2bb5ab2e115416e8aafe7f4"
URL = f"https://zenodo.org/records/1432913/files/{ARCHIVE}?download=1"
CLIPS = 20_000

_BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)

logger = logging.getLogger(__name__)


def download_openmic(
    root: str | Path,
    *,
    url: str = URL,
    md5: str = MD5,
    clips: int = CLIPS,
    attempts: int = 5,
    wait_seconds: float = 2.0,
) -> None:
    """Fetch, check and unpack the archive, unless `root` holds all its clips.

    Args:
        root: made when it is missing; the archive becomes a folder in it.
        url: of the archive.
        md5: of the archive.
        clips: in the archive.
        attempts: how often in a row the transfer may fail without any progress.
        wait_seconds: before the second attempt; doubled before each further one.

    Raises:
        InputError: server out of reach, wrong MD5, unsafe archive, too little space, no
            permission, another download at work in `root`.
    """
    root = Path(root).expanduser()
    with locked(root):
        if _is_complete(root, clips):
            logger.info("%s is complete", root)
            return
        path = root / ARCHIVE
        by_hand = path.is_file()
        if not by_hand:
            path = root / f"{ARCHIVE}.part"
            fetch(url, path, attempts=attempts, wait_seconds=wait_seconds)
        if (found := md5_of(path)) != md5:
            if not by_hand:
                path.unlink()
            wrong = f"{str(path)!r} has MD5 {found}, not {md5}"
            raise InputError(f"{wrong}; {'remove it' if by_hand else 'it was removed'}, and retry")
        unpack_tgz(path, root)
        if not by_hand:
            path.unlink()


def _is_complete(root: Path, clips: int) -> bool:
    tree = find_tree(root)
    if tree is None or not (tree / "audio").is_dir():
        return False
    return len(sounds_below(tree / "audio")) >= clips


def unpack_tgz(archive: Path, root: Path) -> None:
    """Unpack `archive` into `root`, nothing of a broken one, without vggish/ and hidden files.

    Raises:
        InputError: when it is broken or not safe.
    """
    temporary = root / f".unpack-{archive.name}"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed attempt
    try:
        with tarfile.open(archive, "r|gz") as opened:
            for member in opened:
                _extract(opened, member, archive, temporary)
        for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
            target = root / path.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    except _BROKEN as error:
        raise InputError(f"cannot unpack {str(archive)!r}: {error}; fetch it again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(opened: tarfile.TarFile, member: tarfile.TarInfo, archive: Path, folder: Path) -> None:
    name = PurePosixPath(member.name)
    leaves = name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name
    if leaves or not (member.isreg() or member.isdir()):
        unsafe = f"its member {member.name!r} would leave the folder or is a link"
        raise InputError(f"{str(archive)!r} is not safe to unpack: {unsafe}; do not use it")
    source = opened.extractfile(member)
    if source is None or "vggish" in name.parts or name.name.startswith("."):
        return
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 2**20)
