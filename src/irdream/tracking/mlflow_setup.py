"""How mlflow is to behave here: silent, off the network, its errors in words a person can use."""

from __future__ import annotations

import importlib
import logging
import os
import random
import re
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator

from irdream.errors import InputError

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
_LOCKED = "is locked"
# Refused, reset, no answer in time; or the status 408, 429, 500, 502, 503 or 504.
_AWAY = re.compile(
    r"API request to (?!endpoint ).+ failed with (timeout )?exception"  # a name may have spaces
    r"|Connection broken|Connection aborted|Response ended prematurely|Read timed out"
)
_ODD = re.compile(r"[^\w@%+=:,./~-]")  # for a shell
_PASSWORD = re.compile(r"//[^/@\s]+@")
_LONGEST_PAUSE_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_OF_PROXIES = (502, 503, 504)  # what stands before a server says so when that is away
_SERVER = "check that the server runs and can be reached, and see its log"
_REMEDIES = {
    _LOCKED: "another process holds it; end that process or try again later",
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
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # a missing figure


def is_locked(error: Exception) -> bool:
    """Say whether the database was only busy, so that waiting helps."""
    return _LOCKED in first_line(error)


def is_away(error: Exception) -> bool:
    """Say whether a server, or its database, did not answer, as while it is restarted.

    MLflow's server answers 503 without its database, but a bare 500 where that went away in the
    middle of a batch; hence 500 counts too.
    """
    return _AWAY.search(str(error)) is not None


def pauses() -> Iterator[float]:
    """Yield how many seconds to wait before the next try: about 0.1, 0.2, 0.4, ... 5."""
    longest = 0.1
    while True:
        yield random.uniform(0.5, 1.0) * longest
        longest = min(2 * longest, _LONGEST_PAUSE_SECONDS)


def explain(error: Exception, where: str) -> None:
    """Raise `InputError` in place of an error of the store that a person can mend."""
    of_server = filter(_AWAY.search, str(error).splitlines())  # of several files, not the first
    line = _PASSWORD.sub("//", next(of_server, first_line(error)))
    for sign, remedy in _REMEDIES.items():
        if sign in line:
            raise InputError(f"tracking store {where}: {line}; {remedy}") from error


def command(*words: str, before: str = "") -> str:
    """Return a command of MLflow's as it can be typed in this folder.

    Args:
        words: after `mlflow`.
        before: a variable that is set for it.
    """
    python = sys.orig_argv[0] or "python"
    parts = [before, python, "-m", "mlflow", *words]
    return " ".join(_ODD.sub(r"\\\g<0>", part) for part in parts if part)


def first_line(error: Exception) -> str:
    """Return what went wrong without the SQL and the parameters that follow."""
    return str(error).partition("\n")[0]


def ask(where: str, *, seconds: float) -> None:
    """Fail where no server answers within so many seconds; it is asked once at least.

    MLflow itself would go on asking, for minutes.

    Raises:
        InputError: when none answers.
    """
    give_up = time.monotonic() + seconds
    pause = pauses()
    while (refusal := _refusal(f"{where.rstrip('/')}/health")) is not None:
        if time.monotonic() >= give_up:
            raise InputError(
                f"no tracking server answers at {where} ({refusal}); start it, correct the "
                "address, or track in a local folder: server=null store=mlruns"
            )
        time.sleep(next(pause))


def _refusal(address: str) -> Exception | None:
    try:
        with urllib.request.urlopen(address, timeout=_ANSWER_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return error if error.code in _OF_PROXIES else None  # otherwise it did answer
    except (OSError, ValueError) as error:
        return error


def without_password(uri: str) -> str:
    """Return an address as it may be shown."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
