"""A PostgreSQL server and an MLflow server of the tests' own, which can be restarted."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))  # Debian's place
_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
_START_SECONDS = 120.0


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as socket_:
        socket_.bind(("127.0.0.1", 0))
        return socket_.getsockname()[1]


class Postgres:
    """A database server in a folder of its own; as root it runs as the user postgres."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        if _ROOT:
            shutil.chown(folder, "postgres", "postgres")
        data = str(folder / "data")
        self._run("initdb", "--no-sync", "-D", data, "-U", "mlflow", "--auth=trust")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "mlflow", "mlflow")

    @property
    def uri(self) -> str:
        """The address of the database."""
        return f"postgresql+psycopg2://mlflow@127.0.0.1:{self.port}/mlflow"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        self._control("start", "-l", str(self.folder / "log"), "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: fast, which ends all connections, or immediate, as a crash."""
        self._control("stop", "-m", mode)

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", *words)

    def _run(self, program: str, *words: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if _ROOT else []
        command = [*user, str(_PROGRAMS[-1].with_name(program)), *words]
        subprocess.run(
            command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=_START_SECONDS
        )


class Server:
    """An MLflow server with the command that docs/server.md gives."""

    def __init__(self, database: str, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database),
            *("--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "2"),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        switches = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=_without_pytest() | switches,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        give_up = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > give_up or self._process.poll() is not None:
                pytest.fail((self.folder / "server.log").read_text()[-3000:])
            time.sleep(0.1)

    def stop(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """End it with all its workers: at once, or by asking."""
        if self._process is not None:
            os.killpg(self._process.pid, sign)
            self._process.wait(timeout=_START_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=1.0):
                return True
        except OSError:
            return False


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database server; the test is skipped where there is none."""
    if not _PROGRAMS:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("needs psycopg2: pip install 'irdream[server]'")
    if _ROOT and shutil.which("runuser") is None:
        pytest.skip("needs runuser, since PostgreSQL does not run as root")
    folder = Path(tempfile.mkdtemp(prefix="irdream_postgres_"))  # that its user may enter
    try:
        database = Postgres(folder)
        yield database
        with contextlib.suppress(subprocess.CalledProcessError):  # it was stopped
            database.stop("immediate")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An MLflow server on that database."""
    server = Server(postgres.uri, tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


def _without_pytest() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "PYTEST" not in name}
