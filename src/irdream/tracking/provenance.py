"""Where a run came from: code, versions, machine, process, command.

Read once when a run opens; about 10 ms, all of it git. GitPython, which MLflow would use, is
not needed: one `git describe` says commit and dirtiness, and no git is no error.
"""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from irdream import __version__

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_GIT_SECONDS = 5.0


def run_tags() -> dict[str, str]:
    """Return what to tag a run with; a fact that cannot be had is left out.

    `mlflow.*` are the names that the MLflow UI reads. Host, pid and boot id together tell later
    whether the process of a run that is still marked RUNNING can be alive.
    """
    tags = {
        "mlflow.source.name": sys.argv[0],
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        "irdream.version": __version__,
        "irdream.python": platform.python_version(),
        "irdream.torch": _torch_version(),
        "irdream.host": socket.gethostname(),
        "irdream.pid": str(os.getpid()),
        "irdream.boot_id": boot_id(),
        "irdream.command": shlex.join(sys.orig_argv),
    }
    return {key: value for key, value in (tags | git_tags(Path(__file__))).items() if value}


def git_tags(file: Path) -> dict[str, str]:
    """Return the commit of the checkout that `file` is part of, and whether it was changed.

    Empty without git, outside a checkout, before a first commit, or when the file is not tracked
    (a package installed inside somebody else's checkout has not that checkout's commit).
    """
    if shutil.which("git") is None or not _git(file.parent, "ls-files", "--", file.name):
        return {}
    described = _git(file.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    if not described:
        return {}
    commit, _, dirty = described.partition("-")
    return {"mlflow.source.git.commit": commit, "irdream.git_dirty": str(bool(dirty)).lower()}


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            check=True,
            text=True,
            timeout=_GIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _torch_version() -> str:
    return str(getattr(sys.modules.get("torch"), "__version__", ""))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in passwd
        return ""


def boot_id() -> str:
    """Return what is new at each start of this machine; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
