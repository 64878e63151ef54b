"""How mlflow is to behave here: silent, off the network, its errors in words a person can use."""

from __future__ import annotations

import importlib
import logging
import os
import warnings

from irdream.errors import InputError

PATIENCE_SECONDS = 120.0
"""How long a locked database, or another process that is making the store, is waited for."""

_SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_LOCKED = "is locked"
_REMEDIES = {
    _LOCKED: "another process holds it; end that process or try again later",
    "is full": "free some space there",
    "readonly database": "make it writable, or run with tracker=none",
    "unable to open": "make it readable and writable, or run with tracker=none",
    "malformed": "move it away and a new one is made",
    "API request to": "check that the server runs and can be reached",
    "out-of-date database schema": "run 'mlflow db upgrade' on it, or move it away",
}


def import_mlflow(*, local: bool) -> None:
    """Import mlflow for the first time, with its switches set; what the environment says stays.

    Args:
        local: import what an SQLite store needs too. Its import warns of SQLAlchemy's future
            changes, which are MLflow's to mend; hence not left to the first use.
    """
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("mlflow")
        if local:
            importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
            importlib.import_module("mlflow.store.model_registry.sqlalchemy_store")
    # It logs each database error with its traceback before raising it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def is_locked(error: Exception) -> bool:
    """Say whether the database was only busy, so that waiting helps."""
    return _LOCKED in first_line(error)


def explain(error: Exception, where: str) -> None:
    """Raise `InputError` in place of an error of the store that a person can mend."""
    line = first_line(error)
    for sign, remedy in _REMEDIES.items():
        if sign in line:
            raise InputError(f"tracking store {where}: {line}; {remedy}") from error


def first_line(error: Exception) -> str:
    """Return what went wrong without the SQL and the parameters that follow."""
    return str(error).partition("\n")[0]
