"""What files contain, as hashes: the first half of `irdream.fingerprint`.

A file is read once. While its size, times and inode are the same, so is its content; that is
remembered in the process and, after `remember_in`, from one process to the next: 6705 files of
IRMAS take seconds at first, and 50 ms from then on.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from irdream.files import replacing

logger = logging.getLogger(__name__)

FILE = "fingerprints.json"
OF_A_RUN = {".hydra", ".irdream", "job.json", "multirun.yaml", "mlflow.db"}  # lie where runs write
_SETTLED_NS = 2 * 10**9  # since a change; until then another one could have the same time
_WORTH_KEEPING = 2**26  # bytes that were read: 0.1 s
_WORTH_SHOWING = 2**28


class _Memory:
    """Hashes of files by path, with the state in which they were read."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.known: dict[str, list[Any]] = {}  # size, times, inode, hash
        self.unsaved_bytes = 0
        self.lock = threading.Lock()

    def load(self, path: Path) -> None:
        """Add what an earlier process has left, which may be nothing or damaged."""
        self.path = path
        try:
            self.known = dict(json.loads(path.read_bytes())) | self.known
        except (OSError, TypeError, ValueError):
            return

    def save(self) -> None:
        """Write it where that saves more than it costs."""
        with self.lock:
            if self.path is None or self.unsaved_bytes < _WORTH_KEEPING:
                return
            self.unsaved_bytes = 0
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self.path, synced=False) as file:
                    file.write(json.dumps(dict(self.known)).encode())
            except OSError as error:
                logger.debug("%s is not written: %s", self.path, error)

    def find(self, path: str) -> tuple[str | None, list[int]]:
        """Return what is remembered of a file, and its state."""
        now = os.stat(path)
        if not stat.S_ISREG(now.st_mode):
            raise OSError(f"{path!r} is not a file")
        known, state = self.known.get(path), _state(now)
        return (known[-1] if isinstance(known, list) and known[:-1] == state else None), state

    def digest(self, path: str) -> str:
        """Return the hash of a file's content."""
        known, state = self.find(path)
        if known is not None:
            return known
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
            after = _state(os.fstat(file.fileno()))
        if state == after and time.time_ns() - max(state[1:3]) > _SETTLED_NS:
            self.known[path] = [*state, digest.hexdigest()]
            self.unsaved_bytes += state[0]
        return digest.hexdigest()


def _state(of: os.stat_result) -> list[int]:
    return [of.st_size, of.st_mtime_ns, of.st_ctime_ns, of.st_ino]


_memory = _Memory()
atexit.register(_memory.save)


def remember_in(cache_dir: str | Path | None) -> None:
    """Remember what files contain from one process to the next, in a folder; None: do not."""
    path = None if cache_dir is None else Path(cache_dir).expanduser().absolute() / FILE
    if path is not None and path != _memory.path:
        _memory.save()
        _memory.load(path)


def content_of(path: str | Path, *, written: Iterable[str | Path] = ()) -> str:
    """Return a hash of a file's content, or of the names and contents of all files in a folder.

    Links are followed, hidden files are left out. Of what runs have written (in folders of theirs
    and in `written`) only the WAVs count, since a folder of sounds may hold the outputs of the runs
    on it. Raises OSError when there is none, it cannot be read, or is a pipe.
    """
    root = os.path.abspath(Path(path).expanduser())
    if not os.path.isdir(root):
        return _memory.digest(root)
    paths = list(files_below(root, written))
    _read_new(paths)
    lines = sorted([os.path.relpath(path, root), _digest(path)] for path in paths)
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def files_below(root: str, written: Iterable[str | Path] = ()) -> Iterator[str]:
    """Yield the files that `content_of` a folder counts."""
    of_runs = {os.path.realpath(Path(folder).expanduser()) for folder in written}
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        if folder != root and not OF_A_RUN.isdisjoint([*subfolders, *names]):
            of_runs.add(real)
        if real in of_runs:
            of_runs.update(os.path.join(real, name) for name in subfolders)
        shown = (n for n in subfolders if not n.startswith(".") and n != "__pycache__")
        subfolders[:] = sorted(shown)  # of two ways to a folder the same one each time
        for name in names:
            if not name.startswith(".") and (real not in of_runs or name.endswith(".wav")):
                yield os.path.join(folder, name)


def _digest(path: str) -> str:
    try:
        return _memory.digest(path)
    except OSError as error:
        return f"cannot be read: {error.errno}"


def _read_new(paths: Iterable[str]) -> None:
    """Read the files that are not remembered, several at once, where that takes long; show it."""
    unknown, size = [], 0
    for path in paths:
        try:
            known, state = _memory.find(path)
        except OSError:
            continue
        if known is None:
            unknown.append(path)
            size += state[0]
    if size < _WORTH_SHOWING:
        return
    from irdream.progress import track

    with ThreadPoolExecutor() as pool:
        for _ in track(pool.map(_digest, unknown), "reading files", total=len(unknown)):
            pass
    _memory.save()
