"""The local store's SQLite file: made once and whole, and at home wherever its folder is.

However many processes ask at the same time, one makes the file, under a lock and a temporary
name, and renames it: MLflow alone crashes three of four processes that start on a missing
database, and a kill while it makes the tables leaves one that never opens. About 2 s, once.

Making the tables straight from MLflow's table models, and waiting for a server to make them,
were left out: the first passes over MLflow's own migrations, the second needs a server.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from filelock import FileLock, Timeout

from irdream.errors import InputError
from irdream.files import temporary_path
from irdream.tracking.mlflow_setup import PATIENCE_SECONDS, explain, import_mlflow

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"


def create_store(root: Path | str) -> None:
    """Make the store's database in the folder `root` unless it is there; see also `adopt`.

    Raises:
        InputError: when the folder cannot be written, its name is none that SQLite takes, its file
            is no tracking store, or another process holds the lock for more than two minutes.
    """
    database = Path(root).expanduser().resolve() / DATABASE
    if not exists(database):
        _create_once(database)
    adopt(database, (database.parent / ARTIFACTS).as_uri())


def _create_once(database: Path) -> None:
    sqlite_uri(database)  # refuses before a folder is made
    lock = database.with_name(f"{DATABASE}.lock")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=PATIENCE_SECONDS):
            if not exists(database):
                _create(database)
    except Timeout as error:
        raise InputError(
            f"another process has been making the tracking store for {PATIENCE_SECONDS:.0f} s "
            f"(it holds {lock}); end it and try again"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot make a tracking store in {database.parent}: {error.strerror or error}; choose "
            "a folder that can be written, or run with tracker=none"
        ) from error


def exists(database: Path) -> bool:
    """Say whether the file is there; SQLite leaves an empty one where it was only opened."""
    return database.is_file() and database.stat().st_size > 0


def sqlite_uri(database: Path) -> str:
    """Return the address of a database file.

    Raises:
        InputError: when the path has a `?`, which before version 2.1 SQLAlchemy cannot be told of.
    """
    from sqlalchemy import make_url

    path = database.as_posix()
    if not {"%", "?"} & set(path):
        return f"sqlite:///{path}"
    for written in (path.replace("%", "%25").replace("?", "%3F"), path):  # since 2.1, before it
        uri = f"sqlite+pysqlite:///{written}"  # of the short form MLflow makes a folder with %25
        if make_url(uri).database == path:
            return uri
    raise InputError(f"{database}: SQLAlchemy cannot open a path with a '?'; choose another folder")


def adopt(database: Path, artifacts: str) -> None:
    """Check the file, and let it follow its folder when that was moved or copied.

    MLflow keeps absolute addresses of artifacts: without this, a store that was moved would go
    on writing to the old place, and a copy to its original's.

    Args:
        database: the SQLite file.
        artifacts: the address of the folder `artifacts` beside it, where it is now.

    Raises:
        InputError: when the file is no tracking store, or cannot be read or written.
    """
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=20.0)) as connection, connection:
            for old in _other_locations(connection, artifacts):
                _rewrite(connection, old, artifacts)
    except sqlite3.Error as error:
        explain(error, str(database))
        raise InputError(
            f"{database} is not a tracking store ({error}); move it away and a new one is made"
        ) from error


def _create(database: Path) -> None:
    import_mlflow(local=True)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    _remove_unfinished(database.parent)  # of a process that was killed
    new = temporary_path(database)
    try:
        store = SqlAlchemyStore(sqlite_uri(new), (database.parent / ARTIFACTS).as_uri())
        store.engine.dispose()
        os.replace(new, database)
    except Exception as error:  # Alembic's, SQLAlchemy's or MLflow's
        explain(error, str(database))
        raise
    finally:
        _remove_unfinished(database.parent)


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(f".{DATABASE}.*.part*"):  # with SQLite's journals
        path.unlink(missing_ok=True)


def _other_locations(connection: sqlite3.Connection, artifacts: str) -> list[str]:
    rows = connection.execute(
        "SELECT DISTINCT artifact_location FROM experiments"
        " WHERE artifact_location LIKE ? AND artifact_location != ?",
        (f"file://%/{ARTIFACTS}", artifacts),
    )
    return [location for (location,) in rows.fetchall()]


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, column in (
        ("experiments", "artifact_location"),
        ("runs", "artifact_uri"),
        ("model_versions", "storage_location"),
    ):
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
            f" WHERE substr({column} || '/', 1, ?) = ?",
            (new, len(old) + 1, len(old) + 1, f"{old}/"),
        )
