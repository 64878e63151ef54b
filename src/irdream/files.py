"""Files: written whole or not at all, names that no two of them share, what they contain.

Everything is written to a temporary name in the same folder, synced, and moved over the final name.
A file's content, as a hash, is read once: while its size, times and inode are the same, so is its
content. That is remembered in the process and, after `remember_in`, from one process to the next:
6705 files of IRMAS take seconds at first, and 50 ms from then on.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import hashlib
import io
import json
import logging
import os
import re
import secrets
import stat
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from irdream.errors import InputError

ExistingPath = str | Path  # of an argument: the command line looks whether it is there
FILE = "fingerprints.json"
OF_A_RUN = {".hydra", ".irdream", "job.json", "multirun.yaml", "mlflow.db"}  # lie where runs write
_NAME_BYTES = 80  # so that endings and a temporary name fit into the 255 of file systems
_SETTLED_NS = 2 * 10**9  # since a change; until then another one could have the same time
_WORTH_KEEPING = 2**26  # bytes that were read: 0.1 s
_WORTH_SHOWING = 2**28

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def replacing(path: str | Path, *, synced: bool = True) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block ends, and never if it raises.

    Missing folders are made. The file is `synced` so that it survives a power cut; what can be
    made again need not be.

    Raises:
        OSError: from the system (no permission, full disk), with the name of `path`; no part of
            the file is left.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the temporary name
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return a hidden name beside `path` that nobody else uses."""
    name = _cut(path.name)
    return path.with_name(f".{name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def distinct_names(texts: Sequence[str]) -> list[str]:
    """Return a name for files, without an ending, for each of some different texts.

    Letters, digits, `_` and `-` stay, 80 bytes at most. Where two would be the same file, also
    where upper and lower case or the forms of Unicode are not told apart, each gets eight digits
    of its text's hash. So a name depends on the texts, not on their order.
    """
    plain = [_cut(re.sub(r"[^\w-]+", "_", _composed(text)).strip("_-")) or "_" for text in texts]
    folded = [_composed(name.casefold()) for name in plain]
    count = Counter(folded)
    hashes = [hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() for text in texts]
    return [
        name if count[key] == 1 else f"{name}-{digits[:8]}"
        for name, key, digits in zip(plain, folded, hashes, strict=True)
    ]


def as_text(name: str | Path) -> str:
    """Return a file's name or path as text that can be written; bytes that are none, as \\xf6."""
    return os.fsencode(name).decode(errors="backslashreplace")


def read_text(path: Path) -> str:
    """Read a file as UTF-8; raise InputError when it cannot be read, or is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{str(path)!r} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}; check it") from None


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV, "" where a cell is missing; InputError where a column is missing."""
    reader = csv.DictReader(io.StringIO(read_text(path)), restkey="", restval="")
    try:
        reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{str(path)!r} line {reader.line_num + 1}: {error}; mend it") from None
    if missing := [column for column in columns if column not in reader.fieldnames]:
        found = ", ".join(reader.fieldnames) or "nothing"
        raise InputError(
            f"{str(path)!r} has no {missing[0]}; found {found}, expected {', '.join(columns)}"
        )
    return rows


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _cut(name: str) -> str:
    """Return as much of a name as has 80 bytes, whole letters only."""
    return name.encode(errors="ignore")[:_NAME_BYTES].decode(errors="ignore")


# What files contain


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
        with contextlib.suppress(OSError, TypeError, ValueError):
            self.known = dict(json.loads(path.read_bytes())) | self.known

    def save(self) -> None:
        """Write it where that saves more than it costs."""
        with self.lock:
            if self.path is None or self.unsaved_bytes < _WORTH_KEEPING:
                return
            self.unsaved_bytes = 0
            try:
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
    sizes: dict[str, int] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            known, state = _memory.find(path)
            if known is None:
                sizes[path] = state[0]
    if sum(sizes.values()) < _WORTH_SHOWING:
        return
    from irdream.progress import track

    with ThreadPoolExecutor() as pool:
        for _ in track(pool.map(_digest, sizes), "reading files", total=len(sizes)):
            pass
    _memory.save()


# What a checkpoint is called

NAMES = ("shipped", "second", "robust", "musicnn")  # that come along, each with a CARD.md
FORMS = (
    "a folder with recognizer.json and weights.safetensors, which "
    "irdream.save(Recognizer(...), folder) makes of any network with its weights, "
    f"{', '.join(map(repr, NAMES))}, runs:/... or models:/..."
)  # in which a checkpoint is named
_PITCHED = re.compile(r"(?P<path>.+)@(?P<semitones>[+-](?:12|1[01]|\d)(?:\.\d+)?)")


def checkpoint_for(path: str | Path) -> str:
    """Return what to name instead of `path`: the checkpoint in it, or the forms of a name."""
    inside = Path(path).expanduser() / "checkpoint"
    return str(inside) if (inside / "recognizer.json").is_file() else FORMS


def pitched(name: str) -> tuple[str, float]:
    """Return a checkpoint's path and by how many semitones it hears a sound higher.

    `second@-3` is the checkpoint `second`, to which all sounds are 3 semitones lower.
    """
    found = None if os.path.exists(os.path.expanduser(name)) else _PITCHED.fullmatch(name)
    return (found["path"], float(found["semitones"])) if found else (name, 0.0)
