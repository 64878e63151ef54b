"""The folder of a run's files: one run at a time, and nothing of an earlier one.

Many set-ups give all runs one folder (`hydra.run.dir=...`). What was there before a run began is
not kept with it. What a run kept is listed in the hidden folder `.irdream`; when a later run has
files of its own, those of the list that are as they were are removed. Other people's files are
never touched, nor those of a training: its checkpoint may be in use.

Nothing heavy is imported here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from irdream.errors import InputError
from irdream.files import replacing

HIDDEN = ".irdream"
TRAINED = "checkpoint/"  # what a training keeps
logger = logging.getLogger(__name__)


class OutputFolder:
    """A folder that a run of this process writes to.

    Args:
        path: of the folder.
        key: that it was set with, for messages.
        kind: "run"; or "sweep", whose jobs' folders may be the same one or below it.

    Attributes:
        kept: the files of this run that a tracker was given, and when they were written, in ns.
    """

    def __init__(self, path: str | Path, *, key: str, kind: str = "run") -> None:
        self.path = Path(os.path.abspath(path))
        self._key = key
        self._hidden = self.path / HIDDEN
        self._list, self._lock_path = self._hidden / f"{kind}.json", self._hidden / f"{kind}.lock"
        self._lock: Any = None
        self._began_ns = 0
        self.kept: dict[str, int] = {}

    def check(self) -> None:
        """Raise InputError when another run writes to the folder."""
        if self._lock_path.exists():
            self.claim()
            self.release()

    def claim(self) -> None:
        """Keep other runs out until `release`.

        Raises:
            InputError: when another run writes to the folder.
        """
        from filelock import FileLock, Timeout  # 0.05 s

        self._hidden.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._lock_path, timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"{self._key}: another run writes to {str(self.path)!r}; choose another folder, or "
                "wait for it"
            ) from error
        except NotImplementedError:
            logger.warning("%s: a file system without locks", self.path)
        self._lock_path.touch()
        self._began_ns = self._lock_path.stat().st_mtime_ns  # by the clock that stamps its files

    def release(self) -> None:
        """Remove what an earlier run kept, if this one kept something; let others in."""
        if self.kept:
            self._remove_earlier()
            with replacing(self._list) as file:
                file.write(json.dumps(self.kept, indent=0).encode())
        if self._lock is not None:
            self._lock.release()

    def watching(self, tracker: Any) -> Any:
        """Return the tracker as one that keeps files of this run only, and lists them here."""
        return _Watching(tracker, self)

    def written(self, path: Path) -> list[Path]:
        """Return the files of a folder that this run wrote, or the file itself; list them."""
        files = [file for file in sorted(path.rglob("*")) if file.is_file()] or [path]
        own = [file for file in files if file == path or not self._is_earlier(file)]
        for file in own:
            if file.is_file() and file.is_relative_to(self.path):
                self.kept[file.relative_to(self.path).as_posix()] = file.stat().st_mtime_ns
        return own

    def _is_earlier(self, file: Path) -> bool:
        return file.is_relative_to(self.path) and file.stat().st_mtime_ns < self._began_ns

    def _remove_earlier(self) -> None:
        try:
            listed: dict[str, int] = json.loads(self._list.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if any(name.startswith(TRAINED) for name in listed):
            return
        files = [
            self.path / name for name, ns in listed.items() if _is_as_written(self.path / name, ns)
        ]
        for file in files:
            file.unlink()
            with contextlib.suppress(OSError):  # not empty
                file.parent.rmdir()
        if files:
            logger.warning("%s: removed %d files of an earlier run", self.path, len(files))


class _Watching:
    """A tracker that is given what a run wrote itself."""

    def __init__(self, tracker: Any, output: OutputFolder) -> None:
        self._tracker, self._output = tracker, output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker, name)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keep a file, or the files of a folder, without those that an earlier run left there."""
        for file in self._output.written(path):
            into = Path(folder) / file.parent.relative_to(path.parent)
            self._tracker.log_file(file, "" if into == Path() else into.as_posix())


def _is_as_written(file: Path, written_ns: int) -> bool:
    return file.is_file() and file.stat().st_mtime_ns == written_ns
