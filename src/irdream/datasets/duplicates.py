"""Names, recordings and equal files in a tree of sound files, for all data sets that read one.

A split into training and validation must not put the same sound on both sides. Excerpts of
one recording (their names differ in a last `__k` only) belong together, and so do recordings
that share a file. Files are compared byte for byte, not by sound: that finds the doubled
files of IRMAS, and costs one read of 4 kB a file where sizes are equal.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from irdream.files import as_text

Key = TypeVar("Key", bound=Hashable)
_PROBE_BYTES = 4096


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name files by their stem, with the folder before it where two stems are the same."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}  # in order
    for path in paths:
        plain = path.stem if stems[path.stem] == 1 else f"{path.parent.name}-{path.stem}"
        numbered = (f"{plain}~{number}" for number in itertools.count(2))
        free = (name for name in itertools.chain([plain], numbered) if as_text(name) not in names)
        names[as_text(next(free))] = None
    return list(names)


def equal_files(files: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Return the groups of two or more files that are equal byte for byte.

    By size, then by 4 kB from the middle, then by MD5: the excerpts of IRMAS are all of one
    size, and hashing them whole would read 3.5 GB. Files that cannot be read equal none.
    """
    groups = [list(files)]
    for key in (_size, _middle, md5_of):
        groups = [part for group in groups for part in _parts(group, key)]
    return [tuple(group) for group in groups]


def recordings_of(paths: Sequence[Path], equal_groups: Iterable[Sequence[Path]]) -> list[str]:
    """Return each file's recording: folder and name without a `__k` at the end.

    Recordings that share an equal file become one, with all their excerpts.
    """
    own = {p: as_text(f"{p.parent.name}/{re.sub(r'__[0-9]+$', '', p.stem)}") for p in paths}
    joined = {recording: recording for recording in own.values()}

    def find(recording: str) -> str:
        while joined[recording] != recording:
            recording = joined[recording]
        return recording

    for group in equal_groups:
        together = sorted({find(own[path]) for path in group})
        joined.update(dict.fromkeys(together, together[0]))
    return [find(own[path]) for path in paths]


def _parts(files: list[Path], key: Callable[[Path], Key]) -> list[list[Path]]:
    parts: dict[Key, list[Path]] = defaultdict(list)
    for file in files:
        with contextlib.suppress(OSError):  # reading it as sound says what is wrong
            parts[key(file)].append(file)
    return [part for part in parts.values() if len(part) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _middle(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return file.read(_PROBE_BYTES)


def md5_of(path: Path) -> str:
    """Return a file's MD5, as published beside data sets (no protection against forgery)."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def forget(dataset: object) -> None:
    """Drop what the cached properties of a data set keep, so that its tree is scanned anew."""
    for name, value in vars(type(dataset)).items():
        if isinstance(value, cached_property):
            vars(dataset).pop(name, None)
