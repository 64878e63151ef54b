"""Fetch the archives of a data set and unpack them, so that a broken attempt can be repeated.

Each archive is streamed to `<archive>.part`, resumed by an HTTP range where the server allows it,
checked by its MD5, unpacked beside its place, and moved there. A folder with all its sounds is not
fetched again, and an archive that lies in the root already is used and kept.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock, Timeout

from irdream.audio import sounds_below
from irdream.datasets.identity import md5_of
from irdream.errors import InputError
from irdream.files import ExistingPath
from irdream.progress import byte_bar

_CHUNK_BYTES = 2**18
_TIMEOUT_SECONDS = 60
_LASTING_ERRORS = {400, 401, 403, 404, 410}
# NotImplementedError and RuntimeError: unknown compression, a password.
_BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError),
    *(NotImplementedError, RuntimeError),
)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A .zip or .tgz of a data set; unpacked it is `folder`, with this number of `sounds`.

    Folders in it that are named in `leave_out` are not unpacked.
    """

    url: str
    md5: str
    folder: str
    sounds: int
    leave_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.url.partition("?")[0].rpartition("/")[2]


class Downloadable(ABC):
    """A published data set below `root`, which `prepare` fetches when `download` was asked for.

    Its class has `title`; `choice`, of `dataset=...`; `source` with its licence; `archives()`.
    """

    title: str
    choice: str
    source: str
    root: ExistingPath | None
    download: bool

    @abstractmethod
    def archives(self) -> Sequence[Archive]:
        """Return what is to be fetched into `root`."""

    def where(self) -> str:
        """Return in words where the data set is."""
        command = f"task=prepare dataset={self.choice} dataset.root=... dataset.download=true"
        return f"{self.title} is {self.source}; fetch it: python main.py {command}"

    def existing_root(self) -> Path:
        """Return the root; raise InputError where there is none, saying where the data set is."""
        if self.root is None:
            raise InputError(f"dataset.root is not set; {self.where()}")
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise InputError(f"no such folder: dataset.root={str(root)!r}; {self.where()}")
        return root

    def to_prepare(self) -> str:
        """Say what `prepare` would do, if it was asked for; raise InputError without a root."""
        if not self.download:
            return ""
        if self.root is None:
            raise InputError(f"dataset.root is not set; name the folder for {self.source}")
        return f"fetches what {str(Path(self.root).expanduser())!r} lacks of {self.source}"

    def prepare(self) -> None:
        """Fetch and unpack what is missing, and scan the tree anew."""
        if not self.to_prepare() or self.root is None:
            return
        fetch_archives(Path(self.root).expanduser(), self.archives())
        for name, value in vars(type(self)).items():
            if isinstance(value, cached_property):
                vars(self).pop(name, None)


def fetch_archives(
    root: Path, archives: Sequence[Archive], *, attempts: int = 5, wait_seconds: float = 2.0
) -> None:
    """Fetch, check and unpack the archives that `root` does not hold yet.

    A transfer may fail so many `attempts` in a row without any progress; the wait is doubled before
    each further one. Raises InputError: server out of reach, file not there, wrong MD5, unsafe
    archive, too little space, no permission, another download at work in `root`.
    """
    with _locked(root):
        for archive in archives:
            folder = root / archive.folder
            if folder.is_dir() and len(sounds_below(folder)) >= archive.sounds:
                continue
            by_hand, fetched = root / archive.name, root / f"{archive.name}.part"
            if by_hand.is_file():
                if (md5 := md5_of(by_hand)) != archive.md5:
                    wrong = f"{str(by_hand)!r} has MD5 {md5}, not {archive.md5}"
                    raise InputError(f"{wrong}; remove it and retry")
                unpack(by_hand, folder, leave_out=archive.leave_out)
                continue
            if not fetched.is_file() or md5_of(fetched) != archive.md5:
                _fetch(archive.url, fetched, attempts=attempts, wait_seconds=wait_seconds)
                if (md5 := md5_of(fetched)) != archive.md5:
                    fetched.unlink()
                    wrong = f"{archive.name} arrived with MD5 {md5}, not {archive.md5}"
                    raise InputError(f"{wrong}; it was removed, run the command again")
            unpack(fetched, folder, leave_out=archive.leave_out)
            fetched.unlink()


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Lock the root; turn errors of the file system into an InputError."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".irdream-download.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another download is at work in {str(root)!r}; wait for it") from None
    except OSError as error:
        remedy = "free space or change permissions, and run the command again"
        raise InputError(f"cannot write below {str(root)!r}: {error.strerror}; {remedy}") from error


# The transfer


class _InterruptedError(Exception):
    """The transfer stopped early; it is worth another attempt."""


def _fetch(url: str, path: Path, *, attempts: int, wait_seconds: float) -> None:
    """Stream `url` into `path`, appending to what is there, until it is complete."""
    failures, most_bytes = 0, _size(path)
    with byte_bar() as bar:
        show = partial(bar.update, bar.add_task(path.stem, total=None))
        while True:
            try:
                return _transfer(url, path, show)
            except _InterruptedError as error:
                failures = 1 if _size(path) > most_bytes else failures + 1
                most_bytes = max(most_bytes, _size(path))
                if failures >= attempts:
                    remedy = "check the network and run the command again; it goes on from there"
                    raise InputError(f"cannot fetch {url}: {error}; {remedy}") from None
            time.sleep(wait_seconds * 2 ** (failures - 1))


def _transfer(url: str, path: Path, show: Callable[..., None]) -> None:
    """Fetch the rest of a file as far as the connection lasts."""
    start = _size(path)
    request = urllib.request.Request(url, headers={"User-Agent": "irdream"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _network(url, path):
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0
        needed_bytes, free_bytes = response.length or 0, shutil.disk_usage(path.parent).free
        if needed_bytes > free_bytes:
            space = f"{needed_bytes / 1e9:.1f} GB needed, {free_bytes / 1e9:.1f} GB free"
            raise InputError(f"cannot fetch {url}: {space}; make room on the disk")
        total = None if response.length is None else start + response.length
        with path.open("ab" if start else "wb") as file:
            while True:
                with _network(url, path):
                    chunk = response.read(_CHUNK_BYTES)
                if not chunk:
                    break
                file.write(chunk)
                show(completed=file.tell(), total=total)
    if total is not None and _size(path) < total:
        raise _InterruptedError("the connection broke")


@contextlib.contextmanager
def _network(url: str, path: Path) -> Iterator[None]:
    """Turn network errors into _InterruptedError where a retry can help, else into InputError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"HTTP {error.code} {error.reason}"
        if error.code in _LASTING_ERRORS:
            raise InputError(f"cannot fetch {url}: {answer}; check the address") from None
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            path.unlink(missing_ok=True)
        raise _InterruptedError(answer) from None
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _InterruptedError(getattr(error, "reason", error)) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# The archive


def unpack(archive: Path, folder: Path, *, leave_out: Collection[str] = ()) -> None:
    """Unpack `archive` so that its files are in `folder`, whose own name it may lead with.

    Hidden files, links and folders named in `leave_out` are left out; other files of the folder
    stay. Raises InputError for no archive or a broken one, encrypted, or unsafe names; `folder` is
    then as before.
    """
    temporary = folder.with_name(f".unpack-{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed attempt
    try:
        temporary.mkdir(parents=True)
        with byte_bar() as bar:
            task = bar.add_task("unpacking", total=None)
            for name, size_bytes, open_member in _members(archive):
                path = PurePosixPath(name)
                if path.is_absolute() or ".." in path.parts:
                    raise tarfile.TarError(f"its member {name!r} would leave the folder")
                if not path.name.startswith(".") and not set(leave_out) & set(path.parts):
                    target = temporary / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with open_member() as source, target.open("wb") as file:
                        shutil.copyfileobj(source, file, 2**20)
                bar.advance(task, size_bytes)
        inner = temporary / folder.name
        source_folder = inner if inner.is_dir() else temporary
        shutil.copytree(source_folder, folder, dirs_exist_ok=True, copy_function=os.replace)
    except _BROKEN as error:
        raise InputError(f"cannot unpack {str(archive)!r}: {error}; fetch it again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Yield the plain files: name, size, and what opens each."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, partial(opened.open, info)
        return
    with tarfile.open(archive, "r|gz") as tar:  # read once, from its start to its end
        for member in tar:
            if member.isreg():
                yield member.name, member.size, partial(tar.extractfile, member)  # type: ignore[misc]
