"""A Slurm of one node on this machine, for as long as a command runs; nothing else is touched.

    python tests/cluster/slurm_node.py COMMAND ...

Debian's packages munge, slurmctld, slurmd and slurm-client make it; with slurmdbd and
mariadb-server beside them it keeps accounts too (`sacct`), as clusters do. Needs root. Keys,
configurations, state and logs are in a folder of its own under /tmp, where every daemon listens
on a socket or on a free port of the loopback address.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
FOR_ACCOUNTS = ("slurmdbd", "mariadbd", "mariadb-install-db")
PATIENCE_SECONDS = 60.0  # for one daemon

SLURM = """\
ClusterName=irdream
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=5
AccountingStorageType=accounting_storage/{accounts}
{accounts_place}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
ACCOUNTS = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounts_port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


class SlurmNode:
    """Starts the daemons on `with`, stops them and what they run at its end."""

    def __init__(self) -> None:
        self.folder = Path()  # of keys, configurations, state and logs
        self.accounts = all(map(shutil.which, FOR_ACCOUNTS))  # whether `sacct` answers
        self.environment: dict[str, str] = {}  # in which a command finds this Slurm
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SlurmNode:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *words: str) -> str:
        """Return what a command of Slurm prints."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
        return done.stdout

    def _start(self) -> None:
        self._configure()
        folder = self.folder
        self._run(
            "munged", "--foreground", "--force", f"--key-file={folder}/munge.key",
            f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid",
            f"--seed-file={folder}/munged.seed", f"--log-file={folder}/munged.log",
        )  # fmt: skip
        self._await("munged", lambda: (folder / "munge.socket").exists())
        if self.accounts:
            self._start_accounts()
        self._run("slurmctld", "-D", "-i", "-f", str(folder / "slurm.conf"))
        self._await("slurmctld", lambda: "UP" in self.ask("scontrol", "ping"))
        self._run("slurmd", "-D", "-f", str(folder / "slurm.conf"))
        self._await("slurmd", lambda: "idle" in self.ask("sinfo", "--noheader", "-o", "%t"))

    def _configure(self) -> None:
        controller_port, node_port, accounts_port = _free_ports(3)
        place = (
            f"AccountingStorageHost=localhost\nAccountingStoragePort={accounts_port}\n"
            f"AccountingStoragePass={self.folder}/munge.socket"
        )
        values = {
            "folder": self.folder,
            "host": socket.gethostname().split(".")[0],
            "controller_port": controller_port,
            "node_port": node_port,
            "accounts_port": accounts_port,
            "accounts": "slurmdbd" if self.accounts else "none",
            "accounts_place": place if self.accounts else "",
            "cpus": os.cpu_count(),
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 64,
        }
        for name in ("state", "spool", "accounts"):
            (self.folder / name).mkdir()
        for name, text in (
            ("munge.key", secrets.token_hex(64)),
            ("slurm.conf", SLURM.format(**values)),
            ("slurmdbd.conf", ACCOUNTS.format(**values)),
        ):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(text)
        self.environment = {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "MYSQL_UNIX_PORT": str(self.folder / "maria.socket"),
        }

    def _start_accounts(self) -> None:
        data, server = self.folder / "accounts", self.folder / "maria.socket"
        make = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root"]
        subprocess.run(make, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        self._run(
            "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={server}",
            "--skip-networking", "--skip-grant-tables", f"--pid-file={self.folder}/maria.pid",
        )  # fmt: skip
        self._await("mariadbd", server.exists)
        self._run("slurmdbd", "-D", SLURM_CONF=str(self.folder / "slurm.conf"))
        add = ("sacctmgr", "--immediate", "add", "cluster", "irdream")
        self._await("slurmdbd", lambda: "irdream" in self.ask(*add))

    def _run(self, program: str, *words: str, **environment: str) -> None:
        path = shutil.which(program)
        if path is None:
            raise FileNotFoundError(f"{program} is missing")
        with (self.folder / f"{program}.out").open("wb") as out:
            daemon = subprocess.Popen(
                [path, *words],
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the command
            )
        self._daemons.append(daemon)

    def _await(self, program: str, ready: Callable[[], Any]) -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            if self._daemons[-1].poll() is not None or time.monotonic() > give_up:
                said = (self.folder / f"{program}.out").read_text()[-2000:]
                raise RuntimeError(f"{program} did not start; it said:\n{said}")
            time.sleep(0.1)

    def _stop(self) -> None:
        """Cancel all jobs, then end the daemons, last started first."""
        if len(self._daemons) > 1:
            self.ask("scancel", "--user=root", "--full", "--signal=KILL")
            self.ask("scancel", "--user=root")
            give_up = time.monotonic() + 15
            while self.ask("squeue", "--noheader").strip() and time.monotonic() < give_up:
                time.sleep(0.2)
        while self._daemons:
            daemon = self._daemons.pop()
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def why_not() -> str | None:
    """Return why no node can be started here; None when one can."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} missing; apt-get install munge slurmctld slurmd slurm-client"
    return None if os.geteuid() == 0 else "Slurm's daemons need root here"


def _free_ports(count: int) -> list[int]:
    taken = [socket.socket() for _ in range(count)]
    try:
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]
    finally:
        for one in taken:
            one.close()


def main() -> int:
    """Run a command, by default a shell, beside a node."""
    if reason := why_not():
        print(reason, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with SlurmNode() as node:
        with_accounts = "with" if node.accounts else "without"
        print(f"Slurm is up after {time.monotonic() - began:.1f} s, {with_accounts} sacct; "
              f"logs in {node.folder}", file=sys.stderr)  # fmt: skip
        words = sys.argv[1:] or [os.environ.get("SHELL", "sh")]
        try:
            return subprocess.run(words, env={**os.environ, **node.environment}).returncode
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
