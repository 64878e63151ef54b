"""Fetch the archives of a data set and unpack them, so that a broken attempt can be repeated.

Each archive is streamed to `<archive>.part` in the root, resumed by an HTTP range where the
server allows it, checked by its MD5, unpacked into a hidden folder beside its place, and
moved there. A folder with all its sounds is not fetched again, and an archive that lies in
the root already (fetched by hand) is used and kept. Nothing of an archive leaves the root:
absolute names, `..` and links are refused.

urllib does this in few lines; `requests` and `pooch` were left out as dependencies (pooch
does not resume).
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout
from rich.progress import Progress

from irdream.audio import sounds_below
from irdream.datasets.duplicates import md5_of
from irdream.datasets.unpack import unpack
from irdream.errors import InputError
from irdream.progress import byte_bar

_CHUNK_BYTES = 2**18
_TIMEOUT_SECONDS = 60
_LASTING_ERRORS = {400, 401, 403, 404, 410}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive of a data set.

    Attributes:
        url: where it is; `?download=1` and the like are no part of its name.
        md5: of the archive.
        folder: what it becomes below the root.
        sounds: how many sound files are in there.
        leave_out: names of folders in it that are not unpacked.
    """

    url: str
    md5: str
    folder: str
    sounds: int
    leave_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return what the file is called."""
        return self.url.partition("?")[0].rpartition("/")[2]

    def is_complete(self, root: Path) -> bool:
        """Say whether all its sounds are below `root`."""
        folder = root / self.folder
        return folder.is_dir() and len(sounds_below(folder)) >= self.sounds


class _InterruptedError(Exception):
    """The transfer stopped early; it is worth another attempt."""


def fetch_archives(
    root: str | Path,
    archives: Sequence[Archive],
    *,
    attempts: int = 5,
    wait_seconds: float = 2.0,
) -> None:
    """Fetch, check and unpack the archives that `root` does not hold yet.

    Args:
        root: made when it is missing.
        archives: what to fetch.
        attempts: how often in a row a transfer may fail without any progress.
        wait_seconds: before the second attempt; doubled before each further one.

    Raises:
        InputError: server out of reach, file not there, wrong MD5, unsafe archive, too
            little space, no permission, another download at work in `root`.
    """
    root = Path(root).expanduser()
    with _locked(root):
        for archive in archives:
            if archive.is_complete(root):
                logger.info("%s is complete", archive.folder)
                continue
            path = root / archive.name
            if not path.is_file():
                path = path.with_name(f"{archive.name}.part")
                _fetch(archive.url, path, attempts=attempts, wait_seconds=wait_seconds)
            _check_md5(path, archive)
            unpack(path, root / archive.folder, leave_out=archive.leave_out)
            (root / f"{archive.name}.part").unlink(missing_ok=True)


def _fetch(url: str, path: Path, *, attempts: int, wait_seconds: float) -> None:
    """Stream `url` into `path`, going on after what is already there.

    Raises:
        InputError: not there, too little space, or `attempts` failures without progress.
    """
    failures, most_bytes = 0, _size(path)
    with byte_bar() as bar:
        transfer = _Transfer(url, path, bar)
        while True:
            try:
                return transfer.run()
            except _InterruptedError as error:
                failures = 1 if _size(path) > most_bytes else failures + 1
                most_bytes = max(most_bytes, _size(path))
                if failures >= attempts:
                    remedy = "check the network and run the command again; it goes on from there"
                    raise InputError(f"cannot fetch {url}: {error}; {remedy}") from None
            time.sleep(wait_seconds * 2 ** (failures - 1))


class _Transfer:
    """One file, from as far as it has come to its end."""

    def __init__(self, url: str, path: Path, bar: Progress) -> None:
        self.url, self.path, self.bar = url, path, bar
        self.task = bar.add_task(path.name.removesuffix(".part"), total=None)

    def run(self) -> None:
        have_bytes = _size(self.path)
        response = self._open(have_bytes)
        if response is None:
            return
        with response:
            start = have_bytes if response.status == http.client.PARTIAL_CONTENT else 0
            if start and not response.headers["Content-Range"].startswith(f"bytes {start}-"):
                self._start_over("the server sent another part than was asked for")
            total = response.length if response.length is None else start + response.length
            self._check_space(None if total is None else total - start)
            with self.path.open("ab" if start else "wb") as file:
                for chunk in _chunks(response):
                    file.write(chunk)
                    self.bar.update(self.task, completed=file.tell(), total=total)
        if total is not None and _size(self.path) < total:
            raise _InterruptedError("the connection broke")

    def _open(self, have_bytes: int) -> http.client.HTTPResponse | None:
        """Ask for the rest of the file; None when there is no rest."""
        headers = {"User-Agent": "irdream"}
        if have_bytes:
            headers["Range"] = f"bytes={have_bytes}-"
        try:
            request = urllib.request.Request(self.url, headers=headers)
            return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error, have_bytes)
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            raise _InterruptedError(getattr(error, "reason", error)) from None

    def _refused(self, error: urllib.error.HTTPError, have_bytes: int) -> None:
        answer = f"HTTP {error.code} {error.reason}"
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range", "").endswith(f"/{have_bytes}"):
                return
            self._start_over(answer)
        if error.code in _LASTING_ERRORS:
            raise InputError(f"cannot fetch {self.url}: {answer}; check the address") from None
        raise _InterruptedError(answer)

    def _start_over(self, reason: str) -> NoReturn:
        self.path.unlink(missing_ok=True)
        raise _InterruptedError(reason)

    def _check_space(self, needed_bytes: int | None) -> None:
        free_bytes = shutil.disk_usage(self.path.parent).free
        if needed_bytes is not None and needed_bytes > free_bytes:
            space = f"{needed_bytes / 1e9:.1f} GB needed, {free_bytes / 1e9:.1f} GB free"
            raise InputError(f"cannot fetch {self.url}: {space}; make room on the disk")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(error) from None
        if not chunk:
            return
        yield chunk


def _check_md5(path: Path, archive: Archive) -> None:
    found = md5_of(path)
    if found == archive.md5:
        return
    if path.name == archive.name:  # fetched by hand: not ours to remove
        raise InputError(f"{str(path)!r} has MD5 {found}, not {archive.md5}; remove it and retry")
    path.unlink()
    wrong = f"{archive.name} arrived with MD5 {found}, not {archive.md5}"
    raise InputError(f"{wrong}; it was removed, run the command again")


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the root alone; say in one line what the file system refuses."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".irdream-download.lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"another download is at work in {str(root)!r}; wait for it") from None
    except OSError as error:
        remedy = "free space or change permissions, and run the command again"
        raise InputError(f"cannot write below {str(root)!r}: {error.strerror}; {remedy}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
