"""Where a study is kept: an SQLite file, a journal file, or a database.

Processes that start together on a missing SQLite file would each make its tables, and all but
one fail; so it is made under a file lock. A journal file is safe on a network file system, too;
SQLite is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from irdream.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import URL

SHARED = "sqlite:///outputs/studies.db"
EXPECTED = "expected sqlite:///FILE, journal:FILE, or the address of a database"
_LOCKED_SECONDS = 60.0  # how long to wait for another process's writing


@dataclass(frozen=True)
class Place:
    """Where a study is kept; see `place_of`.

    Attributes:
        name: of the study.
        storage: address of what it is kept in, with others.
        root: the folder that a relative file belongs to.
    """

    name: str
    storage: str
    root: Path

    @property
    def file(self) -> Path | None:
        """Return the storage's file, absolute; None where it is a database elsewhere.

        Raises:
            InputError: when there is no such storage.
        """
        if self.storage.startswith("journal:"):
            path = self.storage.removeprefix("journal:")
        else:
            url = self._url()
            if url.get_backend_name() != "sqlite":
                return None
            path = url.database or ""
        if path in ("", ":memory:"):
            raise InputError(f"hydra.sweeper.storage={self.storage} names no file; {EXPECTED}")
        return self.root / Path(path).expanduser()

    @property
    def shown(self) -> str:
        """Return the storage without its password."""
        if self.storage.startswith("journal:"):
            return self.storage
        return self._url().render_as_string(hide_password=True)

    def lock(self) -> contextlib.AbstractContextManager[object]:
        """Return what keeps this machine's other processes out while it is held."""
        if self.file is None:
            return contextlib.nullcontext()
        from filelock import FileLock

        self.file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.file}.mutex")  # .lock is the name of the journal's own

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what Optuna and its libraries raise inside the block into one line.

        Raises:
            InputError: when the storage cannot be used.
        """
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except InputError:
            raise
        except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(
                f"hydra.sweeper.storage={self.shown} cannot be used: {line}; {EXPECTED}"
            ) from error

    def connect(self) -> BaseStorage:
        """Open the storage, make it where it is missing; call it under `lock`."""
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend
        from sqlalchemy import NullPool

        if self.storage.startswith("journal:"):
            return JournalStorage(JournalFileBackend(str(self.file)))
        url, engine = self._url(), {"pool_pre_ping": True}
        if self.file is not None:  # a connection that is kept is never closed
            url = url.set(database=str(self.file))
            engine = {"connect_args": {"timeout": _LOCKED_SECONDS}, "poolclass": NullPool}
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine)

    def _url(self) -> URL:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            return make_url(self.storage)
        except (ArgumentError, ValueError) as error:
            raise InputError(f"hydra.sweeper.storage={self.storage}; {EXPECTED}") from error


def place_of(study_name: str | None, storage: str | None, *, sweep_dir: str, root: Path) -> Place:
    """Return where a study is kept.

    Without a name it is that of the sweep's folder, and the study lies there; with one, studies
    share a file, so that the name alone brings a study back.

    Args:
        study_name: as set, or None.
        storage: as set, or None.
        sweep_dir: the sweep's folder.
        root: the folder in which the command was typed, absolute.
    """
    folder = root / sweep_dir
    own = f"sqlite:///{folder / 'study.db'}"
    return Place(study_name or folder.name, storage or (SHARED if study_name else own), root)
