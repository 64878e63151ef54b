"""mlflow as irdream needs it: silent, its errors in plain words, its SQLite file made whole.

However many processes ask for the local store at the same time, one makes the file, under a lock
and a temporary name, and renames it: MLflow alone crashes three of four processes that start on a
missing database, and a kill while it makes the tables leaves one that never opens. About 2 s, once.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import sqlite3
import sys
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

from irdream.errors import InputError, need
from irdream.files import temporary_path

DATABASE, ARTIFACTS = "mlflow.db", "artifacts"
PATIENCE_SECONDS = 120.0
"""How long a locked database, a server that is away, or another process that is making the store
is waited for, after the first failure."""

_SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow itself would ask again for four minutes, also for what may not be done twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# Refused, reset, no answer in time; or the status 408, 429, 500, 502, 503 or 504. A server
# answers a bare 500 where its database went away in the middle of a batch.
_AWAY = re.compile(
    r"API request to (?!endpoint ).+ failed with (timeout )?exception"  # a name may have spaces
    r"|Connection broken|Connection aborted|Response ended prematurely|Read timed out"
)
_SERVER = "check that the server runs and can be reached, and see its log"
REMEDIES = {
    "is locked": "another process holds it; end that process or try again later",
    "is full": "free some space there",
    "readonly database": "make it writable, or run with tracker=none",
    "unable to open": "make it readable and writable, or run with tracker=none",
    "malformed": "move it away and a new one is made",
    "API request to": _SERVER,
    "Connection ": _SERVER,
    "Response ended": _SERVER,
    "Read timed out": _SERVER,
    "No module named": "install it, or name another driver, as postgresql+psycopg2: does",
}


def import_mlflow(*, local: bool) -> None:
    """Import mlflow with its switches set, but for those that the environment sets.

    `local`: import what an SQLite store needs too, whose import warns of SQLAlchemy's future
    changes.
    """
    need("mlflow")
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("mlflow")
        if local:
            importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
            importlib.import_module("mlflow.store.model_registry.sqlalchemy_store")
    for name in ("store.db.utils", "system_metrics"):  # tracebacks of what is raised, or missing
        logging.getLogger(f"mlflow.{name}").setLevel(logging.CRITICAL)


def is_away(error: Exception) -> bool:
    """Say whether a server, or its database, did not answer, as while it is restarted."""
    return _AWAY.search(str(error)) is not None


def explain(error: Exception, where: str) -> None:
    """Raise `InputError` in place of an error of the store that a person can mend."""
    of_server = filter(_AWAY.search, str(error).splitlines())  # of several files, not the first
    line = re.sub(r"//[^/@\s]+@", "//", next(of_server, first_line(error)))
    for sign, remedy in REMEDIES.items():
        if sign in line:
            raise InputError(f"tracking store {where}: {line}; {remedy}") from error


def first_line(error: Exception) -> str:
    """Return what went wrong, without SQLAlchemy's hint before it and the SQL after it."""
    hint = r"\(raised as a result of Query-invoked autoflush.*\n"
    return re.sub(hint, "", str(error)).partition("\n")[0]


def command(*words: str, before: str = "") -> str:
    """Return a command of MLflow's, quoted for a shell, after assignments `before` it."""
    parts = [before, sys.orig_argv[0] or "python", "-m", "mlflow", *words]
    return " ".join(re.sub(r"([^\w@%+=:,./~-])", r"\\\1", part) for part in parts if part)


def without_password(uri: str) -> str:
    """Return an address without its password."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def create_store(root: Path | str) -> None:
    """Make the store's database in the folder `root` unless it is there; see also `adopt`.

    Raises InputError when the folder cannot be written, its name is none that SQLite takes, its
    file is no tracking store, or another process holds the lock for more than two minutes; when
    MLflow is not installed.
    """
    need("mlflow")
    database = Path(root).expanduser().resolve() / DATABASE
    lock = database.with_name(f"{DATABASE}.lock")
    try:
        if not exists(database):
            sqlite_uri(database)  # refuses before a folder is made
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
    adopt(database, (database.parent / ARTIFACTS).as_uri())


def exists(database: Path) -> bool:
    """Say whether the file is there; SQLite leaves an empty one where it was only opened."""
    return database.is_file() and database.stat().st_size > 0


def sqlite_uri(database: Path) -> str:
    """Return the URI of a database file; raise InputError where SQLAlchemy cannot parse it."""
    from sqlalchemy import make_url

    path = database.as_posix()
    if not {"%", "?"} & set(path):
        return f"sqlite:///{path}"
    # Of the short form MLflow makes a folder with %25 in its name.
    uri = f"sqlite+pysqlite:///{path.replace('%', '%25').replace('?', '%3F')}"
    if make_url(uri).database != path:
        raise InputError(
            f"{database}: SQLAlchemy before 2.1 cannot open a path with '%' or '?'; choose another "
            "folder"
        )
    return uri


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


def adopt(database: Path, artifacts: str) -> None:
    """Check the file, and let it follow its folder when that was moved or copied.

    MLflow keeps absolute addresses of artifacts: a store that was moved would go on writing to the
    old place. `artifacts` is the address of the folder beside it, where it is now. Raises
    InputError when the file is no tracking store, or cannot be read or written.
    """
    columns = {"experiments": "artifact_location", "runs": "artifact_uri"}
    columns["model_versions"] = "storage_location"
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=20.0)) as connection, connection:
            elsewhere = connection.execute(
                "SELECT DISTINCT artifact_location FROM experiments"
                " WHERE artifact_location LIKE ? AND artifact_location != ?",
                (f"file://%/{ARTIFACTS}", artifacts),
            )
            for (old,) in elsewhere.fetchall():
                for table, column in columns.items():
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE substr({column} || '/', 1, ?) = ?",
                        (artifacts, len(old) + 1, len(old) + 1, f"{old}/"),
                    )
    except sqlite3.Error as error:
        explain(error, str(database))
        raise InputError(
            f"{database} is not a tracking store ({error}); move it away and a new one is made"
        ) from error
